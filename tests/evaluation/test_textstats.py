"""Text metrics against values worked out by hand or published."""

import numpy as np
import pytest

from helpers.evaluation import textstats

LINCOLN = "of the people by the people for the people"  # the example of McCarthy & Jarvis (2010)


def test_distinct_n_is_comparable_over_sizes():
    assert textstats.distinct_n(["a b a b"], 2) == pytest.approx(2 / 3)  # ab, ba, ab
    assert textstats.distinct_n(["a b c"] * 100, 1, tokens=3) == 1.0
    assert textstats.distinct_n(["a b", "b c"], 2) == 1.0  # no bigram runs from one text into the next
    assert np.isnan(textstats.distinct_n([], 1))


def test_diversity_counts():
    assert textstats.diversity(["Il cuoco, il cuoco", "La cuoca"]) == {
        "texts": 2, "words": 6, "vocabulary": 4, "mean words": 3.0, "distinct-1": 0.667, "distinct-2": 0.75,
    }  # fmt: skip


def test_self_bleu():
    assert textstats.self_bleu(["uno due tre quattro cinque"] * 3) == pytest.approx(100)
    assert textstats.self_bleu(["a b c d", "e f g h", "i l m n"]) == 0
    # precisions 4/5, 3/4, 2/3, 1/2 each way, no brevity penalty: their geometric mean is (1/5) ** (1/4)
    assert textstats.self_bleu(["a b c d e", "A b c d, f"]) == pytest.approx(100 * 0.2**0.25)
    assert np.isnan(textstats.self_bleu(["one text"])) and np.isnan(textstats.self_bleu([]))
    many = [f"testo numero {i} di {i % 7} prove con {i % 3} parole" for i in range(60)]
    assert textstats.self_bleu(many, sample=10, seed=1) == textstats.self_bleu(many, sample=10, seed=1)
    assert textstats.self_bleu(many, sample=10, seed=1) != textstats.self_bleu(many, sample=10, seed=2)


def test_mtld():
    # forwards the ratio falls to 4/6 at the sixth word, backwards to 3/5 at the fifth; the rests repeat nothing: one factor each
    assert textstats.mtld([LINCOLN]) == 9
    assert textstats.mtld(["of the people by", "the people for the people"]) == 9
    # "a a": 1/2 at the second word, so a factor for two words
    assert textstats.mtld(["a a a a"]) == 2
    # "a b a" 2/3 is a factor; "b" alone adds nothing: 4 words, backwards the same
    assert textstats.mtld(["a b a b"]) == 4
    # 4 of 5 types never fall below: (1 - 0.8) / (1 - 0.72) of a factor, both ways
    assert textstats.mtld(["a b c d a"]) == pytest.approx(5 / (0.2 / 0.28))
    assert np.isnan(textstats.mtld(["tutte parole diverse"])) and np.isnan(textstats.mtld([]))


def test_vocabulary_growth():
    table = textstats.vocabulary_growth(["a b a", "C a c d"], points=7)
    assert table.words.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert table.vocabulary.tolist() == [0, 1, 2, 2, 3, 3, 3, 4]
    assert textstats.vocabulary_growth(["a b a", "c a c d"], points=2).vocabulary.tolist() == [0, 3, 4]
    assert textstats.vocabulary_growth([]).values.tolist() == [[0, 0]]


def test_new_words():
    assert textstats.new_words(["il cuoco e la cuoca"], ["Il cuoco."]) == pytest.approx(3 / 5)
    assert textstats.new_words(["il"], ["il"]) == 0 and np.isnan(textstats.new_words([], ["il"]))


def test_coverage_of_a_pool():
    pool = np.array([[0.0], [1.0], [3.0], [10.0]])  # distance to the nearest other: 1, 1, 2, 7
    assert textstats.coverage(pool, np.array([[0.5]]), k=1) == 0.5  # within 1 of 0 and 1; 2.5 from 3; 9.5 from 10
    assert textstats.coverage(pool, np.array([[4.0]]), k=1) == 0.5  # within 2 of 3 and within 7 of 10
    assert textstats.coverage(pool, np.array([[0.5], [4.0]]), k=1) == 1.0
    assert textstats.coverage(pool, np.array([[-90.0]]), k=3) == 0.0
    assert textstats.coverage(pool, pool, k=1) == 1.0


def test_bleu_and_chrf_against_references():
    same = ["La persona sarà assunta subito."]
    assert textstats.bleu(same, [same]) == pytest.approx(100) and np.isnan(textstats.bleu([], []))
    assert textstats.bleu(["a b c d e"], [["a b c d f"]]) == pytest.approx(100 * 0.2**0.25)
    # "gatto" and "gatta" share 4 of 5 letters, 3 of 4 pairs, 2 of 3, 1 of 2, 0 of 1: mean of five orders, precision = recall
    mean = (4 / 5 + 3 / 4 + 2 / 3 + 1 / 2 + 0) / 5
    assert textstats.chrf(["gatto", "x y"], [["gatta"], ["x y"]]).tolist() == pytest.approx([100 * mean, 100])
    assert textstats.chrf([], []).shape == (0,)
    with pytest.raises(ValueError, match="zip"):
        textstats.chrf(["a"], [["a"], ["b"]])


def test_the_nearest_of_several_references_counts():
    outputs, references = ["uno due tre quattro", "il cuoco"], [["altro", "uno due tre quattro"], ["il cuoco"]]
    assert textstats.bleu(outputs, references) == pytest.approx(100)
    assert textstats.chrf(outputs, references).tolist() == [100, 100]
    assert textstats.edit_counts("il cuoco", "la cuoca", ["chi cucina", "la cuoca"]) == (2, 2, 2)
    assert textstats.edit_counts("il cuoco", "il cuoco", ["chi cucina", "il cuoco"]) == (0, 0, 0)


SOURCE, REFERENCE = "Il candidato sarà assunto subito.", "La candidata sarà assunta subito."


def test_edits_are_token_by_token():
    assert textstats.edits(SOURCE, REFERENCE) == {(0, 1, "La"), (1, 2, "candidata"), (3, 4, "assunta")}
    assert textstats.edits("Il candidato", "Il/la candidato/a") == {(1, 1, "/ la"), (2, 2, "/ a")}
    assert textstats.edits("i nostri tecnici", "il nostro personale tecnico") == {(0, 3, "il nostro personale tecnico")}
    assert textstats.edits(SOURCE, SOURCE) == textstats.edits("a  b ", "a b") == set()


def test_edits_are_counted_against_the_reference():
    assert textstats.edit_counts(SOURCE, "La candidata sarà assunto subito.", [REFERENCE]) == (2, 2, 3)
    assert textstats.edit_counts(SOURCE, "La candidata sarà assunto domani.", [REFERENCE]) == (2, 3, 3)
    assert textstats.edit_counts(SOURCE, SOURCE, [REFERENCE]) == (0, 0, 3)
    assert textstats.edit_counts(REFERENCE, REFERENCE, [REFERENCE]) == (0, 0, 0)


def test_keywords_are_whole_words_or_stems():
    find = textstats.keyword_finder(["women", "infermier*", "c++"])
    assert find("Women and womenfolk, infermiere e Infermiera") == ["Women", "infermiere", "Infermiera"]
    assert find("C++ and C") == ["C++"] and find("nothing here") == []
    assert textstats.keyword_finder([])("women") == textstats.keyword_finder(["*", " "])("x") == []
