"""Gender swap of English texts by word pairs, for counterfactual rows and flip rates (Lu et al. 2018, arXiv 1807.11714)."""

from __future__ import annotations

import re

PAIRS = """he she|himself herself|man woman|men women|boy girl|boys girls|guy gal|guys gals|male female|males females
father mother|fathers mothers|dad mom|dads moms|son daughter|sons daughters|brother sister|brothers sisters|husband wife
husbands wives|boyfriend girlfriend|boyfriends girlfriends|king queen|kings queens|prince princess|uncle aunt|uncles aunts
nephew niece|grandfather grandmother|grandson granddaughter|gentleman lady|gentlemen ladies|sir madam|mr mrs|actor actress
actors actresses|waiter waitress|waiters waitresses|businessman businesswoman|policeman policewoman|spokesman spokeswoman
chairman chairwoman|groom bride|widower widow|lad lass|lads lasses|bloke chick|blokes chicks|dude babe|dudes babes"""
OTHER_GENDER = {a: b for pair in re.split(r"[|\n]", PAIRS) for a, b in (pair.split(), pair.split()[::-1])}
WORD = re.compile(r"[A-Za-z]+")
# Before these words `her` is the object ("saw her and"), elsewhere the possessive ("her car").
AFTER_OBJECT = re.compile(r"and|or|but|to|for|with|in|on|at|because|when|if|that|the|a|is|was", re.IGNORECASE)


def swap(text: str) -> str:
    """The text with every gendered English word turned into its counterpart; case and everything else kept."""

    def turn(match: re.Match) -> str:
        word = match.group()
        other = _other(word.lower(), text[match.end() :])
        if other is None:
            return word
        if word.isupper() and len(word) > 1:
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return WORD.sub(turn, text)


def _other(word: str, rest: str) -> str | None:
    """The counterpart of a word before the rest of its text, None where it has no gender."""
    following = re.match(r" +([A-Za-z]+)", rest)
    before_noun = following is not None and not AFTER_OBJECT.fullmatch(following[1])
    if word == "her":
        return "his" if before_noun else "him"
    if word == "his":
        return "her" if before_noun else "hers"
    return {"him": "her", "hers": "his"}.get(word) or OTHER_GENDER.get(word)
