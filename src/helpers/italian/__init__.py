"""Gender in Italian: what agrees with whom (`agreement`, `phrases`), word forms (`forms`), cues, swap and rewording.

A wrong agreement is mended in `agreement.py`, or in `tables/` where a word is missing;
`tables/README.md` says which file is for what.
"""
