"""Whole files: written all at once, verified to their end, never waited for."""

import os
import stat
import subprocess
import sys

import data_fakes
import numpy as np
import pytest
from shares import further

from lincls import files

needs_posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes of POSIX")


def put(content: bytes):
    return lambda file: file.write(content)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_posix
@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_a_new_file_has_the_mode_that_open_gives(umask, tmp_path):
    before = os.umask(umask)
    try:
        files.write(tmp_path / "new", put(b"a"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o666 & ~umask


@needs_posix
@pytest.mark.parametrize("kept", [0o600, 0o664, 0o444])
def test_a_file_keeps_its_mode_also_while_it_is_written(kept, tmp_path):
    path, seen = tmp_path / "file", []
    path.write_bytes(b"old")
    path.chmod(kept)
    files.write(path, lambda file: seen.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode)))
    assert seen == [kept]
    assert (mode(path), path.read_bytes()) == (kept, b"")


@needs_posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_file_is_replaced(there, tmp_path):
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "file"
    if there:
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "link to the link").symlink_to("link")
    files.write(tmp_path / "link to the link", put(b"new"))
    assert target.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["file"]


def test_the_content_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    rename, sync, done = os.replace, os.fsync, []
    path = tmp_path / "file"

    def fsync(handle):
        sync(handle)
        done.append(
            "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else os.fstat(handle).st_size
        )

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *names: rename(*names) or done.append("named"))
    files.write(path, put(b"12345"))
    assert done == [5, "named", "folder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "file"
    files.write(path, put(b"old"))

    def interrupted(file):
        file.write(b"half")
        file.flush()
        raise error

    with pytest.raises(error):
        files.write(path, interrupted)
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        files.write(tmp_path / "nowhere" / "file", put(b""))


@needs_posix
@pytest.mark.parametrize("moment", range(1, 5))
def test_a_killed_writer_leaves_a_whole_file(moment, tmp_path):
    """Killed when a file is opened, renamed, or synced for the n-th time."""
    code = f"""
    from pathlib import Path
    from lincls import files
    root = Path({str(tmp_path)!r})
    files.write(root / "file", lambda file: file.write(b"old" * 9999))
    count = 0
    def hook(event, args):
        global count
        if event in ("open", "os.rename", "os.chmod") and str(args[0]).startswith(str(root)):
            count += 1
            if count == {moment}:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)
    files.write(root / "file", lambda file: file.write(b"new" * 9999))
    """
    ended = data_fakes.fork(code, tmp_path / "fork")
    assert ended.signal == (9 if moment < 4 else 0), ended.stderr
    expected = b"new" if moment > 2 else b"old"
    assert (tmp_path / "file").read_bytes() == expected * 9999
    parts = [*tmp_path.glob("file*.part")]
    assert len(parts) == (moment == 2)  # it is made, and not yet renamed
    for part in parts:
        os.utime(part, (0, 0))
    files.write(tmp_path / "file", put(b"again"))
    assert [*tmp_path.glob("file*")] == [tmp_path / "file"]


def test_parts_are_swept_after_a_day_and_nothing_else_is(tmp_path):
    old = ["a.npz0123abcd.part", "a.npzabcdefgh.part", "b.npz0123abcd.part"]
    kept = ["a.npz", "a.npz.part", "a.npz-notes.part", "a.npz0123abcd", "c.txt0123abcd.part"]
    for name in [*old, *kept, "a.npz99999999.part"]:
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / "a.npz99999999.part")  # its writer is at work
    files.write(tmp_path / "a.npz", put(b""))
    assert {path.name for path in tmp_path.iterdir()} == {*kept, old[2], "a.npz99999999.part"}
    files.sweep(tmp_path, "*.npz")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "a.npz99999999.part"}


@needs_posix
@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/null"])
def test_only_regular_files_are_opened(kind, tmp_path):
    path = kind if kind == "/dev/null" else str(tmp_path / kind)
    code = f"""
    import signal
    signal.alarm(20)
    from lincls import files
    if {kind!r} == "pipe":
        os.mkfifo({path!r})
    elif {kind!r} == "folder":
        os.mkdir({path!r})
    for use in (files.read_npz, files.map_npy, lambda path: files.write(path, print)):
        try:
            use({path!r})
        except ValueError as error:
            print({path!r} in str(error))
    """
    ended = data_fakes.fork(code, tmp_path)
    assert (ended.signal, ended.stdout) == (0, "True\n" * 3), ended.stderr


# --- npz --------------------------------------------------------------------------------------

ARRAYS = {
    "file": np.arange(6, dtype=">f4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "text": np.array(["a", "bcd"]),
    "empty": np.zeros((0, 3), np.uint8),
    "one": np.array(7),
}


@pytest.mark.parametrize("save", [files.save_npz, np.savez, np.savez_compressed])
@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_are_read_as_they_were_saved(save, mapped, tmp_path):
    arrays = ARRAYS if save is files.save_npz else {k: a for k, a in ARRAYS.items() if k != "file"}
    files.write(tmp_path / "a.npz", lambda file: save(file, **arrays))
    read = files.read_npz(tmp_path / "a.npz", mapped=mapped)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
        expected = mapped and save is not np.savez_compressed
        assert isinstance(read[name], np.memmap) == expected


@pytest.mark.parametrize(
    ("save", "mapped"),
    [
        (np.savez_compressed, False),
        (np.savez, True),
        further(np.savez, False),
        further(np.savez_compressed, True),
    ],
)
def test_one_flipped_bit_is_refused_or_changes_nothing(save, mapped, tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"images": np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4), "labels": np.arange(2)}
    save(path, **arrays)
    content, refused = path.read_bytes(), []
    for bit in range(0, 8 * len(content), 1 if data_fakes.WHOLE else 5):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = files.read_npz(path, mapped=mapped)
        except ValueError as error:
            refused.append(str(path) in str(error))
        else:  # the damage hit a date, or the like
            assert read.keys() == arrays.keys()
            for name, array in arrays.items():
                np.testing.assert_array_equal(read[name], array)
    assert all(refused)
    assert len(refused) > len(content) / 2


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("mapped", [False, True])
def test_large_arrays_are_verified_to_their_end(save, mapped, tmp_path):
    path = tmp_path / "a.npz"
    images = np.random.default_rng(0).integers(256, size=3_000_000, dtype=np.uint8)
    save(path, images=images, labels=np.arange(5))
    content = path.read_bytes()
    for place in (100_000, 1_500_000, 2_999_000):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"a\.npz is damaged"):
            files.read_npz(path, mapped=mapped)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_lost_bytes_are_refused_by_name(save, tmp_path):
    path = tmp_path / "a.npz"
    save(path, images=np.random.default_rng(0).integers(256, size=3000, dtype=np.uint8))
    content = path.read_bytes()
    for place in range(0, len(content) - 40, 97):
        for changed in (content[:place] + content[place + 40 :], content[:place]):
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=r"a\.npz is damaged"):
                files.read_npz(path)


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("compression", [0, 8])
def test_an_array_has_as_many_bytes_as_its_header_says(change, compression, tmp_path):
    """Checksums fit: the file was written so."""
    import zipfile

    np.save(tmp_path / "X.npy", np.arange(100))
    content = (tmp_path / "X.npy").read_bytes()
    content = content[:change] if change < 0 else content + b"\0"
    (tmp_path / "X.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("X.npy", content)
    for read, path in ((files.read_npz, "a.npz"), (files.map_npy, "X.npy")):
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            read(tmp_path / path)


def test_python_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([data_fakes.Trap()], object))
    np.savez(tmp_path / "a.npz", a=np.array([data_fakes.Trap()], object))
    for read, path in ((files.read_npz, "a.npz"), (files.map_npy, "a.npy")):
        with pytest.raises(ValueError, match="Python objects"):
            read(tmp_path / path)


def test_a_path_is_a_text_or_a_path_and_never_the_number_of_an_open_file():
    """In a program of its own: the run-time types of the tests would refuse first."""
    code = """
from lincls import files
for path in (0, 2**63, True, None, b"name", ""):
    try:
        files.open_regular(path)
    except (TypeError, ValueError) as error:
        assert str(error).startswith("path must be "), error
    else:
        raise AssertionError(path)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
