"""`personalive submit` against two real servers, one of which dies half-way."""

import json
import shutil
import signal
import threading
import time

import pytest

from personalive_core.cli import main
from personalive_core.media.video import read_frames
from tests.comfyui.server import ComfyUI
from tests.comfyui.test_nodes import COUNT, small

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(900)]


@pytest.fixture
def folders(tmp_path, media):
    """Two references, three drivings, the workflow."""
    for kind, names, file in (("references", "ab", "portrait.png"), ("drivings", "xyz", "driving.mp4")):
        (tmp_path / kind).mkdir()
        for name in names:
            copy = tmp_path / kind / f"{name}{(media / file).suffix}"
            shutil.copy(media / file, copy)
            with copy.open("ab") as end:
                end.write(name.encode())  # other content: the servers know files by it
    (tmp_path / "workflow.json").write_text(json.dumps(small("batch")))
    return tmp_path


def test_a_batch_survives_the_death_of_a_server_and_is_not_repeated(folders, standin_folder, tmp_path_factory, capsys):
    spare = tmp_path_factory.mktemp("servers")
    (spare / "one").mkdir()
    (spare / "two").mkdir()
    with ComfyUI(spare / "one", standin_folder) as one, ComfyUI(spare / "two", standin_folder) as two:
        command = ["submit", "--server", one.url, "--server", two.url, "--workflow", str(folders / "workflow.json")]
        command += ["--references", str(folders / "references"), "--drivings", str(folders / "drivings")]
        command += ["--output", str(folders / "out"), "--retries", "2"]

        def kill():
            for _ in range(600):
                if two.log.read_text().count("got prompt") >= 2:
                    break
                time.sleep(0.1)
            two.process.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        code = main(command)
        killer.join()
        assert two.process.wait(5) == -signal.SIGKILL
        assert code == 0, capsys.readouterr().err
        videos = sorted((folders / "out").rglob("*.mp4"))
        assert len(videos) == 6
        assert all(len(list(read_frames(video))) == COUNT for video in videos)
        before = one.log.read_text().count("got prompt")
        assert main(command) == 0
        assert one.log.read_text().count("got prompt") == before
