"""The embedding cache: nothing is computed twice, torn files are redone, the size is bounded."""

import multiprocessing

import numpy as np
import pytest

from helpers.core.cache import cached

FACTS = {"model": "m", "revision": "1"}


class Counting:
    """A real, cheap embedding that records the texts it computed."""

    def __init__(self, fail_at: int | None = None):
        self.computed, self.fail_at = [], fail_at

    def __call__(self, texts):
        if self.fail_at is not None and len(self.computed) >= self.fail_at:
            raise KeyboardInterrupt
        self.computed += texts
        return np.array([[len(t), sum(map(ord, t)), 1 / 3] for t in texts], dtype=np.float32).reshape(len(texts), 3)


def texts(n):
    return [f"text {i} – è {'x' * (i % 7)}" for i in range(n)]


def test_nothing_is_embedded_twice_not_even_by_the_next_process(tmp_path):
    first, second = Counting(), Counting()
    look_up = cached(first, FACTS, tmp_path, block=10)
    batch = [*texts(25), *texts(5)]
    assert (look_up(batch) == Counting()(batch)).all() and len(first.computed) == 25
    assert (look_up(texts(30)[::-1]) == Counting()(texts(30)[::-1])).all() and len(first.computed) == 30
    again = cached(second, FACTS, tmp_path)
    assert (again(texts(30)) == Counting()(texts(30))).all() and not second.computed
    assert again(["new"]).dtype == np.float32 and second.computed == ["new"]
    assert again([]).shape == (0, 3)


def test_another_model_has_a_cache_of_its_own(tmp_path):
    cached(Counting(), FACTS, tmp_path)(texts(3))
    other = Counting()
    cached(other, FACTS | {"revision": "2"}, tmp_path)(texts(3))
    assert other.computed == texts(3)


def test_a_run_cut_off_keeps_its_finished_blocks(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cached(Counting(fail_at=20), FACTS, tmp_path, block=10)(texts(35))
    after = Counting()
    cached(after, FACTS, tmp_path, block=10)(texts(35))
    assert after.computed == texts(35)[20:]


def test_a_torn_file_is_computed_again(tmp_path):
    cached(Counting(), FACTS, tmp_path, block=10)(texts(20))
    torn = sorted(tmp_path.rglob("*.npy"))[0]
    torn.write_bytes(torn.read_bytes()[:-7])
    again = Counting()
    assert (cached(again, FACTS, tmp_path)(texts(20)) == Counting()(texts(20))).all()
    assert len(again.computed) == 10


def test_a_file_with_zeros_is_computed_again(tmp_path):
    """As a power cut can leave it: the size on the disk is right, the last pages are not."""
    cached(Counting(), FACTS, tmp_path, block=10)(texts(20))
    for path in tmp_path.rglob("*.npy"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 3].ljust(len(content), b"\0"))
    again = Counting()
    assert (cached(again, FACTS, tmp_path)(texts(20)) == Counting()(texts(20))).all() and len(again.computed) == 20
    after = Counting()
    assert (cached(after, FACTS, tmp_path)(texts(20)) == Counting()(texts(20))).all() and not after.computed


def test_files_of_another_user_are_read_and_left_to_her(tmp_path, monkeypatch):
    cached(Counting(), FACTS, tmp_path, block=10)(texts(20))

    def refuse(*_, **__):
        raise PermissionError("of another user")

    for name in ("utime", "unlink"):
        monkeypatch.setattr(f"os.{name}", refuse)
    again = Counting()
    assert (cached(again, FACTS, tmp_path)(texts(20)) == Counting()(texts(20))).all() and not again.computed
    torn = sorted(tmp_path.rglob("*.npy"))[0]
    torn.write_bytes(b"torn")
    assert (cached(again, FACTS, tmp_path)(texts(20)) == Counting()(texts(20))).all() and len(again.computed) == 10
    assert torn.read_bytes() == b"torn"


def test_the_oldest_files_make_room(tmp_path):
    for name in ("a", "b", "c"):
        cached(Counting(), FACTS | {"model": name}, tmp_path, limit_gib=600 / 2**30)(texts(10))
    assert sum(f.stat().st_size for f in tmp_path.rglob("*.npy")) <= 600
    newest = Counting()
    cached(newest, FACTS | {"model": "c"}, tmp_path)(texts(10))
    assert not newest.computed
    oldest = Counting()
    cached(oldest, FACTS | {"model": "a"}, tmp_path)(texts(10))
    assert len(oldest.computed) == 10


def test_what_is_deleted_under_a_reader_stays_readable(tmp_path):
    look_up = cached(Counting(), FACTS, tmp_path, limit_gib=0)
    assert (look_up(texts(5)) == Counting()(texts(5))).all()
    assert not list(tmp_path.rglob("*.npy"))
    assert (look_up(texts(5)) == Counting()(texts(5))).all()


def worker(folder, start, wrong):
    look_up = cached(Counting(), FACTS, folder, block=3)
    for n in range(20):
        batch = texts(60)[start : start + 10 + n]
        if not (look_up(batch) == Counting()(batch)).all():
            wrong.value += 1


def test_two_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    wrong = context.Value("i", 0)
    workers = [context.Process(target=worker, args=(tmp_path, start, wrong)) for start in (0, 5)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
    assert [p.exitcode for p in workers] == [0, 0] and not wrong.value
    assert not list(tmp_path.rglob("*.part"))
