"""Downloads from a small imitation of the hub: resumed, verified, locked, and refused in words."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from personalive_core.backends.personalive.files import FILES
from personalive_core.errors import OutputError, WeightsError
from personalive_core.weights import download as download_module
from personalive_core.weights import lock
from personalive_core.weights.download import download
from personalive_core.weights.index import locate, read_state
from personalive_core.weights.lock import LOCK_NAME, read_lock, verify

COMMIT = "c0ffee" + "0" * 34
YUNET = next(file for file in FILES if file.network == "yunet")
CONFIG, VAE = (file for file in FILES if file.network == "vae")
CONTENT = bytes(range(256)) * 400  # 102,400 bytes


class Hub(ThreadingHTTPServer):
    """Serves `files`, by repository and path, as the hub does: large ones by sha256, json by git's blob hash."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {YUNET: CONTENT, VAE: CONTENT[::-1], CONFIG: b'{"a": 1}'}
        self.seen = []  # method, path, Range and Authorization of each request
        self.broken = []  # for the next GETs: bytes to send before cutting the connection, or None for an error 500
        self.sent = {}  # content sent in place of the promised one
        self.elsewhere = None  # the server that large files are redirected to

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def gets(self):
        return [request for request in self.seen if request[0] == "GET"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def find(self):
        hub = self.server
        hub.seen.append((self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        for file, content in hub.files.items():
            if self.path in {f"/{file.repo}/resolve/{revision}/{file.path}" for revision in (file.revision, COMMIT)}:
                return file, content
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def do_HEAD(self):
        found = self.find()
        if not found:
            return
        file, content = found
        self.send_response(302 if self.server.elsewhere else 200)
        if self.server.elsewhere:
            self.send_header("Location", f"{self.server.elsewhere.url}{self.path}")
        self.send_header("X-Repo-Commit", COMMIT)
        if file.is_config:
            self.send_header("ETag", f'"{hashlib.sha1(b"blob %d" % len(content) + bytes(1) + content).hexdigest()}"')
        else:
            self.send_header("ETag", '"abc"')
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def do_GET(self):
        found = self.find()
        if not found:
            return
        content = self.server.sent.get(found[0], found[1])
        cut = self.server.broken.pop(0) if self.server.broken else len(content)
        if cut is None:
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start : start + cut])
        self.close_connection = cut < len(content)


@pytest.fixture
def serve():
    running = []

    def start():
        hub = Hub()
        threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(hub)
        return hub

    yield start
    for hub in running:
        hub.shutdown()
        hub.server_close()


@pytest.fixture
def hub(serve, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    return serve()


def names(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".weights.download.lock"
    }


def test_files_land_in_the_published_layout_and_the_lock(tmp_path, hub):
    folder, steps = tmp_path / "weights", []
    download(folder, [YUNET, CONFIG, VAE], endpoint=hub.url, progress=lambda *step: steps.append(step))
    assert names(folder) == {YUNET.place, CONFIG.place, VAE.place, LOCK_NAME}
    assert (folder / VAE.place).read_bytes() == CONTENT[::-1]
    assert locate(folder, FILES).missing(["vae", "yunet"]) == ()
    entry = json.loads((folder / LOCK_NAME).read_text())["files"][YUNET.place]
    assert (entry["repo"], entry["path"], entry["revision"]) == (YUNET.repo, YUNET.path, COMMIT)
    assert entry["record"]["digest"] == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert entry["record"]["size"] == len(CONTENT)
    assert read_lock(folder)[CONFIG.place].record.digest.startswith("git-sha1:")
    assert set(verify(folder)) == {folder / file.place for file in (YUNET, CONFIG, VAE)}
    done = [done for file, done, total in steps if file == YUNET and total == len(CONTENT)]
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)
    assert len(done) > 5


def test_what_is_there_is_not_asked_for_again(tmp_path, hub):
    download(tmp_path, [YUNET], endpoint=hub.url)
    (tmp_path / VAE.place).parent.mkdir()
    (tmp_path / VAE.place).write_bytes(b"the user's own")
    seen = list(hub.seen)
    download(tmp_path, [YUNET, VAE], endpoint=hub.url)
    assert hub.seen == seen
    assert (tmp_path / VAE.place).read_bytes() == b"the user's own"


def test_a_cut_connection_is_resumed(tmp_path, hub):
    hub.broken = [30_000]
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert (tmp_path / YUNET.place).read_bytes() == CONTENT
    first, second = hub.gets()
    assert first[2] is None
    assert second[2] == "bytes=30000-"


def test_a_failed_download_is_resumed_by_the_next_call(tmp_path, hub):
    hub.broken = [30_000, None]
    with pytest.raises(WeightsError, match=r"yunet_2026may.onnx could not be downloaded \(.*500.*it continues where"):
        download(tmp_path, [YUNET], endpoint=hub.url)
    (part,) = names(tmp_path)
    assert part.endswith(".part")
    hub.seen.clear()
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert [request[2] for request in hub.gets()] == ["bytes=30000-"]
    assert (tmp_path / YUNET.place).read_bytes() == CONTENT
    assert names(tmp_path) == {YUNET.place, LOCK_NAME}


def test_an_interrupt_leaves_a_part_that_the_next_call_completes(tmp_path, hub):
    def interrupt(_file, done, _total):
        if done >= 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, [YUNET], endpoint=hub.url, progress=interrupt)
    assert not (tmp_path / YUNET.place).exists()
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert int(hub.gets()[-1][2].removeprefix("bytes=").rstrip("-")) >= 50_000
    assert (tmp_path / YUNET.place).read_bytes() == CONTENT


@pytest.mark.parametrize("file", [YUNET, CONFIG])
def test_content_with_another_hash_is_refused(tmp_path, hub, file):
    promised = hub.files[file]
    hub.sent[file] = bytes([promised[0] ^ 1]) + promised[1:]
    with pytest.raises(WeightsError, match="another hash than the hub promised"):
        download(tmp_path, [file], endpoint=hub.url)
    assert names(tmp_path) == set()


def test_a_file_that_changed_after_its_download_is_refused(tmp_path, hub):
    download(tmp_path, [YUNET], endpoint=hub.url)
    path = tmp_path / YUNET.place
    path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    os.utime(path, (1, 1))
    for use in (
        lambda: locate(tmp_path, FILES).path("yunet"),
        lambda: verify(tmp_path),
        lambda: download(tmp_path, [YUNET], endpoint=hub.url),
    ):
        with pytest.raises(WeightsError, match="is not the file that was downloaded from opencv/face_detection_yunet"):
            use()


def test_a_changed_state_is_not_read(tmp_path, hub):
    hub.files[VAE] = safetensors.torch.save({"a": torch.ones(4)})
    download(tmp_path, [VAE, CONFIG], endpoint=hub.url)
    assert read_state(locate(tmp_path, FILES), "vae")["a"].sum() == 4
    (tmp_path / VAE.place).write_bytes(safetensors.torch.save({"a": torch.zeros(4)}))
    with pytest.raises(WeightsError, match="is not the file that was downloaded from stabilityai/sd-vae-ft-mse"):
        read_state(locate(tmp_path, FILES), "vae")


def test_a_copied_file_is_accepted_and_verify_records_its_time(tmp_path, hub):
    download(tmp_path, [YUNET], endpoint=hub.url)
    path = tmp_path / YUNET.place
    os.utime(path, (1, 1))
    assert locate(tmp_path, FILES).path("yunet") == path
    verify(tmp_path)
    assert read_lock(tmp_path)[YUNET.place].record.mtime_ns == 10**9


def test_a_folder_that_cannot_be_written_to_is_verified(tmp_path, hub, monkeypatch, caplog):
    """Such as weights that the machines of a cluster share."""
    download(tmp_path, [YUNET], endpoint=hub.url)

    def refused(*_):
        raise OutputError("weights.lock.json cannot be written (Read-only file system)")

    monkeypatch.setattr(lock, "write_lock", refused)
    assert verify(tmp_path) == (tmp_path / YUNET.place,)
    assert not caplog.messages
    os.utime(tmp_path / YUNET.place, (1, 1))
    assert verify(tmp_path) == (tmp_path / YUNET.place,)
    assert "every load hashes the files in" in caplog.text


def test_a_deleted_file_comes_again_from_its_commit_or_not_at_all(tmp_path, hub):
    download(tmp_path, [YUNET], endpoint=hub.url)
    (tmp_path / YUNET.place).unlink()
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert f"/resolve/{COMMIT}/" in hub.gets()[-1][1]
    (tmp_path / YUNET.place).unlink()
    hub.files[YUNET] = b"another model"
    with pytest.raises(WeightsError, match="but the lock file records sha256:"):
        download(tmp_path, [YUNET], endpoint=hub.url)


@pytest.mark.parametrize("content", ["{", '{"version": 2, "files": {}}', '{"version": 1, "files": {"a": {}}}', "[]"])
def test_a_damaged_lock_is_refused(tmp_path, content):
    (tmp_path / LOCK_NAME).write_text(content)
    with pytest.raises(WeightsError, match="restore it, or delete it"):
        read_lock(tmp_path)


def test_offline_lists_what_is_missing_and_asks_nobody(tmp_path, hub, monkeypatch):
    (tmp_path / YUNET.place).parent.mkdir()
    (tmp_path / YUNET.place).write_bytes(b"there")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        download(tmp_path, [YUNET, VAE, CONFIG], endpoint=hub.url)
    lines = str(caught.value).splitlines()
    assert "offline mode, without downloads: unset HF_HUB_OFFLINE, or put" in lines[0]
    assert [line.split()[1] for line in lines[1:]] == [VAE.place, CONFIG.place]
    assert str(tmp_path / "pretrained_weights" / VAE.place) in lines[1]
    assert VAE.repo in lines[1]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(WeightsError, match="offline mode, without downloads: leave --offline out, or put"):
        download(tmp_path, [VAE], endpoint=hub.url, offline=True)
    assert hub.seen == []


def test_the_environment_names_the_mirror(tmp_path, hub, repository):
    program = (
        "import pathlib, sys; from personalive_core.weights.download import download;"
        "from personalive_core.backends.personalive.files import FILES;"
        "download(pathlib.Path(sys.argv[1]), [FILES[-1]])"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "PYTHONPATH": str(repository), "HF_HUB_OFFLINE": "0"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, check=True, capture_output=True)
    assert (tmp_path / YUNET.place).read_bytes() == CONTENT


def test_the_users_token_goes_to_the_hub_alone(tmp_path, serve, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.elsewhere = serve()
    hub.elsewhere.files = hub.files
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert [request[3] for request in hub.seen] == ["Bearer hf_secret"]
    assert [request[3] for request in hub.elsewhere.gets()] == [None]


def test_a_file_unknown_to_the_hub_is_named(tmp_path, hub):
    del hub.files[YUNET]
    with pytest.raises(WeightsError, match=r"resolve/main/face_detection_yunet_2026may.onnx could not be downloaded"):
        download(tmp_path, [YUNET], endpoint=hub.url)
    assert names(tmp_path) == set()


def test_an_earlier_version_is_taken_where_the_hub_has_no_other(tmp_path, hub, caplog):
    _, older = YUNET.versions
    hub.files = {older: CONTENT}
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert names(tmp_path) == {older.place, LOCK_NAME}
    assert read_lock(tmp_path)[older.place].path == "face_detection_yunet_2023mar.onnx"
    assert "has no face_detection_yunet_2026may.onnx: its earlier version" in caplog.text
    assert locate(tmp_path, FILES).path("yunet") == tmp_path / older.place
    seen = list(hub.seen)
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert hub.seen == seen


def test_the_earlier_version_is_not_asked_for_where_the_hub_has_the_file_or_fails(tmp_path, hub):
    _, older = YUNET.versions
    hub.files[older] = b"old"
    hub.broken = [None] * 9
    with pytest.raises(WeightsError, match=r"yunet_2026may.onnx could not be downloaded"):
        download(tmp_path, [YUNET], endpoint=hub.url)
    hub.broken = []
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert names(tmp_path) == {YUNET.place, LOCK_NAME}
    assert not [path for _, path, *_ in hub.seen if "2023mar" in path]


def test_too_small_a_disk_is_told_before_the_download(tmp_path, hub, monkeypatch):
    usage = download_module.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(OutputError, match="has 1000 bytes free, 102400 are needed"):
        download(tmp_path, [YUNET], endpoint=hub.url)
    assert hub.gets() == []


def test_a_disk_that_fills_leaves_no_half_file(tmp_path, hub):
    resource = pytest.importorskip("resource", reason="limits the size of files: run it on Linux or macOS")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match=os.strerror(errno.EFBIG)):
            download(tmp_path, [YUNET], endpoint=hub.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / YUNET.place).exists()
    download(tmp_path, [YUNET], endpoint=hub.url)
    assert (tmp_path / YUNET.place).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_told(tmp_path, hub):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write weights to"):
        download(tmp_path / "file" / "weights", [YUNET], endpoint=hub.url)
