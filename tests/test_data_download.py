"""Downloads, against a server on loopback that misbehaves in every way we know."""

import errno
import os
import socket
import ssl
import struct
import time
import urllib.error
from pathlib import Path

import data_fakes
import numpy as np
import pytest
from data_fakes import assert_says_it_all, publish, quiet, send, send_range, serving

from lincls import data, files
from lincls.data import cache, download


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture
def archive(monkeypatch) -> bytes:
    """A small archive that the catalog takes for CIFAR-10's own."""
    content = data_fakes.archive("cifar10")
    publish(monkeypatch, "cifar10", [content])
    return content


def test_a_good_server_and_the_second_load(archive, tmp_path):
    with serving(lambda handler: send(handler, archive)) as address:
        first = data.load("cifar10", url=address, on_progress=quiet)
    assert first.source.official is True
    second = data.load("cifar10")  # no server any more
    assert isinstance(second.train.images, np.memmap)
    assert second.source.digest == first.source.digest
    assert second.class_names == first.class_names
    for a, b in zip((*first.train, *first.test), (*second.train, *second.test), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_a_download_goes_on_where_it_was_cut(archive):
    asked = []

    def answer(handler):
        asked.append(handler.headers.get("Range"))
        send_range(handler, archive, upto=20_000 if len(asked) == 1 else None)

    with serving(answer) as address:
        cifar10 = data.load("cifar10", url=address, on_progress=quiet)
    assert asked == [None, "bytes=20000-"]
    assert cifar10.source.official is True


def test_a_later_call_goes_on_too(archive):
    asked = []

    def answer(handler):
        asked.append(handler.headers.get("Range"))
        send_range(handler, archive, upto=10_000 * min(len(asked), 4) if len(asked) < 6 else None)

    with serving(answer) as address:
        with pytest.raises(data.DataUnavailable, match="cut off after 40,000 of"):
            data.load("cifar10", url=address, on_progress=quiet)
        data.load("cifar10", url=address, on_progress=quiet)
    assert asked == [None, *(f"bytes={n}0000-" for n in (1, 2, 3, 4, 4))]


def test_a_server_without_ranges_begins_anew(archive):
    asked = []

    def answer(handler):
        asked.append(1)
        send(handler, archive if len(asked) > 2 else archive[:9999], length=str(len(archive)))

    with serving(answer) as address:
        with pytest.raises(data.DataUnavailable, match="cut off after 9,999 of"):
            data.load("cifar10", url=address, on_progress=quiet)
        assert len(asked) == 2  # the second brought nothing new
        assert data.load("cifar10", url=address, on_progress=quiet).source.official is True


def test_wrong_bytes_do_not_stand_in_the_way_of_good_ones(archive):
    wrong = b"x" * len(archive)
    thrown_away = pytest.raises(data.DataUnavailable, match="thrown away")
    with serving(lambda handler: send(handler, wrong)) as address, thrown_away:
        data.load("cifar10", url=address, on_progress=quiet)
    with serving(lambda handler: send_range(handler, archive)) as address:
        assert data.load("cifar10", url=address, on_progress=quiet).source.official is True


def test_more_bytes_than_expected(archive):
    part = cache.directory() / "downloads/cifar10/cifar-10-binary.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive + b"left from something longer")

    def answer(handler):  # without a length
        if "Range" in handler.headers:
            return send(handler, b"", 416)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(archive + b"and more")

    with serving(answer) as address:
        assert data.load("cifar10", url=address, on_progress=quiet).source.official is True


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_a_download_beside_another_leaves_nothing_behind(archive):
    lock = cache.directory() / "downloads/cifar10/.cifar-10-binary.tar.gz.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("ab") as other, serving(lambda handler: send(handler, b"x")) as address:
        assert files.lock(other)
        with pytest.raises(data.DataUnavailable, match="offers 1 bytes"):
            data.load("cifar10", url=address, on_progress=quiet)
    assert list(lock.parent.iterdir()) == [lock]


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_knows_no_locks_will_do(code, archive, monkeypatch):
    def flock(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    with serving(lambda handler: send(handler, archive)) as address:
        assert data.load("cifar10", url=address, on_progress=quiet).source.official is True


def stall(handler):
    time.sleep(6)


def stall_in_the_header(handler):
    for _ in range(60):
        handler.wfile.write(b"H")
        time.sleep(0.1)


def drip(handler):
    send(handler, b"", length=str(SIZE))
    for _ in range(30):
        handler.wfile.write(b"x")
        time.sleep(0.1)


def stall_in_the_body(handler):
    send(handler, b"x" * 100, length=str(SIZE))
    time.sleep(6)


def reset(handler):
    send(handler, b"x" * 999, length=str(SIZE))
    time.sleep(0.2)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.connection.close()


def broken_chunks(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"no number\r\n")


def log_in(handler):
    if handler.path.endswith("login"):
        send(handler, b"<html>Welcome to the campus network</html>", kind="text/html")
    else:
        send(handler, b"", 302, Location="/login")


SIZE = 50_000
FAILURES = {
    "wrong bytes": (lambda h: send(h, b"x" * SIZE), "thrown away"),
    "another size": (lambda h: send(h, b"x" * 777), "offers 777 bytes"),
    "half": (lambda h: send(h, b"x" * 999, length=str(SIZE)), "cut off after 999"),
    "reset": (reset, "cut off after 999"),
    "broken chunks": (broken_chunks, "cut off after 0"),
    "nothing": (lambda h: send(h, b"", length=str(SIZE)), "cut off after 0"),
    "no answer": (lambda h: None, "cannot be read"),
    "404": (lambda h: send(h, b"", 404), "answered 404 Not Found"),
    "500": (lambda h: send(h, b"", 500), "answered 500 Internal Server Error"),
    "a circle": (lambda h: send(h, b"", 302, Location=h.path), "answered 302 .* loop"),
    "login page": (log_in, "log in first"),
    "stalled": (stall, "did not answer within"),
    "stalled in the header": (stall_in_the_header, "did not answer within"),
    "stalled in the body": (stall_in_the_body, "has sent nothing for"),
    "drops": (drip, "sent [0-9]+ bytes in . seconds after"),
    "garbage": (lambda h: h.wfile.write(b"\x00\xff nonsense\r\n\r\n"), "cannot be read"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_goes_wrong_is_said_in_one_sentence(failure, monkeypatch):
    publish(monkeypatch, "cifar10", [b"y" * SIZE])
    monkeypatch.setattr(download, "IDLE", 0.6)
    monkeypatch.setattr(download, "OPENING", 1.5)
    answer, says = FAILURES[failure]
    start = time.monotonic()
    with serving(answer) as address, pytest.raises(data.DataUnavailable, match=says) as caught:
        data.load("cifar10", url=address, on_progress=quiet)
    assert time.monotonic() - start < 5
    assert_says_it_all(str(caught.value), address)
    assert not (cache.directory() / "downloads/cifar10/cifar-10-binary.tar.gz").exists()


def test_no_limit_exceeds_twenty_seconds():
    assert download.OPENING + 2 * download.IDLE < 20  # a slow header, then drops, then silence


def test_a_stalled_download_is_taken_up_again(archive, monkeypatch):
    asked = []

    def answer(handler):
        asked.append(handler.headers.get("Range"))
        send_range(handler, archive, upto=20_000 if len(asked) == 1 else None)
        time.sleep(2 if len(asked) == 1 else 0)

    monkeypatch.setattr(download, "IDLE", 0.4)
    with serving(answer) as address:
        cifar10 = data.load("cifar10", url=address, on_progress=quiet)
    assert asked == [None, "bytes=20000-"]
    assert cifar10.source.official is True


def test_an_answer_of_another_size_does_not_cost_what_has_arrived(archive):
    part = cache.directory() / "downloads/cifar10/cifar-10-binary.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive[:20_000])
    another_size = pytest.raises(data.DataUnavailable, match="offers 777 bytes")
    with serving(lambda handler: send(handler, b"x" * 777)) as address, another_size:
        data.load("cifar10", url=address, on_progress=quiet)
    assert part.read_bytes() == archive[:20_000]


def test_a_beginning_from_elsewhere_is_fetched_again(archive):
    part = cache.directory() / "downloads/cifar10/cifar-10-binary.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 20_000)
    with serving(lambda handler: send_range(handler, archive)) as address:
        assert data.load("cifar10", url=address, on_progress=quiet).source.official is True


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux what is open")
def test_files_are_closed_before_they_are_renamed(archive, monkeypatch):
    """Windows renames no file that is open."""
    rename, renamed = os.replace, []

    def replace(source, target):
        open_files = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        assert os.path.realpath(source) not in open_files
        renamed.append(Path(target).suffix)
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with serving(lambda handler: send(handler, archive)) as address:
        data.load("cifar10", url=address, on_progress=quiet)
    assert renamed[:2] == [".gz", ".npz"]


def test_certificates_are_there_where_the_system_has_none(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)
    assert len(download.trusted().get_ca_certs()) > 50


def test_a_network_that_takes_the_place_of_the_server(archive, monkeypatch):
    def ask(*args, **kwargs):
        raise urllib.error.URLError(ssl.SSLCertVerificationError(1, "self-signed certificate"))

    monkeypatch.setattr("urllib.request.urlopen", ask)
    with pytest.raises(data.DataUnavailable, match=r"self-signed.*log in first") as caught:
        data.load("cifar10")
    assert_says_it_all(str(caught.value), "https://www.cs.toronto.edu/~kriz/")


def test_nobody_listens(archive):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(data.DataUnavailable, match="refused the connection") as caught:
            data.load("cifar10", url=address, on_progress=quiet)
    assert_says_it_all(str(caught.value), address)


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_no_network(archive, monkeypatch, how):
    def resolve(*args, **kwargs):
        time.sleep(0 if how == "fails" else 2)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(download, "OPENING", 5 if how == "fails" else 0.5)
    says = "no network" if how == "fails" else "did not answer within"
    with pytest.raises(data.DataUnavailable, match=says) as caught:
        data.load("cifar10")
    assert_says_it_all(str(caught.value), "https://www.cs.toronto.edu/~kriz/")


def test_any_file_with_the_right_checksum_will_do(archive, tmp_path):
    renamed = tmp_path / "from a friend.tgz"
    renamed.write_bytes(archive)
    assert data.load("cifar10", renamed).source.official is True
    assert data.load("cifar10", url=renamed.as_uri(), on_progress=quiet).source.official is True
    renamed.write_bytes(archive + b"\x00")
    with pytest.raises(ValueError, match="must be a folder or an archive of cifar10"):
        data.load("cifar10", renamed)


def test_files_of_mnist_come_one_by_one(tmp_path, monkeypatch):
    data_fakes.write_mnist(tmp_path / "site", seed=0, zipped=True)
    files = (tmp_path / "site" / f"{name}.gz" for name in data_fakes.MNIST_FILES)
    publish(monkeypatch, "mnist", [file.read_bytes() for file in files])

    def answer(handler):
        send(handler, (tmp_path / "site" / handler.path[1:]).read_bytes())

    with serving(answer) as address:
        assert len(data.load("mnist", url=address, on_progress=quiet).train.images) == 20


def test_progress_is_reported(archive, capsys):
    reports = []
    with serving(lambda handler: send(handler, archive)) as address:
        data.load("cifar10", url=address, on_progress=reports.append)
    assert reports[-1].finished
    assert reports[-1].done == reports[-1].total == len(archive)
    assert reports[-1].rate > 0
    capsys.readouterr()
    line = download.Line()
    line(download.Progress("a.gz", 500_000, 5_000_000, 50_000.0, False))  # too early for a line
    line(download.Progress("a.gz", 1_000_000, 5_000_000, 50_000.0, True))
    shown = capsys.readouterr().err
    assert shown == "a.gz: 1.0 of 5.0 MB, 50 kB/s, 1.3 min left\n"
