import random
import time

import pytest

from assent.building.near_duplicates import exact_duplicates, near_duplicates, similarity
from assent.errors import InputError

WORDS = [f"w{i}" for i in range(3000)]


def text(rng: random.Random, length: int = 60) -> str:
    return " ".join(rng.choices(WORDS, k=length))


def test_exact_duplicates_point_at_the_first() -> None:
    assert exact_duplicates(["a", "b", "a", "", "b", ""]) == [0, 1, 0, 3, 1, 3]


def test_similarity_of_texts() -> None:
    assert similarity("a b c d e f", "A b  c d e f") == 1.0
    # Shingles abcde, bcdef against abcde, bcdeX: one of three in common.
    assert similarity("a b c d e f", "a b c d e x") == pytest.approx(1 / 3)
    assert similarity("", "") == 1.0
    assert similarity("", "a") == 0.0


def test_planted_near_duplicates_are_found_and_nothing_else() -> None:
    rng = random.Random(0)
    texts = [text(rng) for _ in range(300)]
    expected = list(range(300))
    for source in range(0, 100):
        words = texts[source].split()
        words[rng.choice((0, -1))] = "changed"  # one shingle of 56 at either end: J = 55/57
        texts.append(" ".join(words))
        expected.append(source)
    assert near_duplicates(texts) == expected


def test_the_threshold_is_the_exact_similarity() -> None:
    rng = random.Random(1)
    first = text(rng, 104)  # 100 shingles
    words = first.split()
    words[0] = words[40] = "x"  # 1 + 5 shingles gone of 100: J = 94/106
    second = " ".join(words)
    measured = similarity(first, second)
    assert measured == pytest.approx(94 / 106)
    assert near_duplicates([first, second], measured) == [0, 0]
    assert near_duplicates([first, second], measured + 1e-9) == [0, 1]


def test_short_empty_and_spaceless_texts() -> None:
    assert near_duplicates(["", "yes", "no", "Yes", ""]) == [0, 1, 2, 1, 0]
    line = "今日は天気がとても良いので公園まで歩いて行きましょうと彼女は言いましたそして笑った" * 2
    assert near_duplicates([line, line[:-1]]) == [0, 0]
    assert near_duplicates([line, "全く別の文章がここにありますので似ているところはひとつもないはずです" * 2]) == [
        0,
        1,
    ]


def test_the_seed_decides_nothing_that_is_clear() -> None:
    rng = random.Random(2)
    texts = [text(rng) for _ in range(50)]
    texts += [f"{one} end" for one in texts]
    assert near_duplicates(texts, seed=1) == near_duplicates(texts, seed=2) == [*range(50), *range(50)]


def test_one_template_for_all_does_not_take_quadratic_time() -> None:
    def seconds(count: int) -> float:
        template = " ".join(WORDS[:30])
        texts = [f"{template} {' '.join(WORDS[(i * 7) % 2900 : (i * 7) % 2900 + 25])} {i}" for i in range(count)]
        start = time.process_time()
        near_duplicates(texts, 0.95)
        return time.process_time() - start

    seconds(50)
    assert seconds(4000) < 8 * seconds(500) * 3


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_that_is_no_similarity(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        near_duplicates(["a"], threshold)
