"""`personalive submit` against servers that answer as ComfyUI does: what arrives, what is retried, what resumes."""

import asyncio
import csv
import functools
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from personalive_core.batch import server as remote
from personalive_core.batch.answers import JobError, RemoteFile, local_names, outputs
from personalive_core.batch.comfyui import Policy
from personalive_core.batch.journal import JOURNAL, read_journal
from personalive_core.commands import submit as submit_command
from personalive_core.errors import InputError, OutputError
from tests.batch.fake_comfyui import FakeComfyUI

WORKFLOW = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}, "_meta": {"title": "Load Image"}},
    "2": {"class_type": "LoadVideo", "inputs": {"file": "x.mp4"}, "_meta": {"title": "Load Video"}},
    "5": {"class_type": "Sampler", "inputs": {"seed": 1, "sharp": True, "mode": "a", "image": ["1", 0]}},
    "6": {"class_type": "SaveImage", "inputs": {"filename_prefix": "pictures/out"}, "_meta": {"title": "Save"}},
    "7": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "film"}, "_meta": {"title": "Save"}},
    "8": {"class_type": "PreviewImage", "inputs": {}},
}


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(remote, "RECONNECT_WAIT", 0.05)
    monkeypatch.setattr(remote, "POLL", 0.5)
    monkeypatch.setattr(submit_command, "Policy", functools.partial(Policy, waits=(0.05,) * 8))


@pytest.fixture
def server():
    """Starts a server with a script of what becomes of each job."""
    started = []

    def start(*script, **options):
        started.append(FakeComfyUI(*script, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def files(tmp_path):
    """Two references, two drivings (each file holds its own name) and the workflow."""
    for name in ("refs/anna.png", "refs/bert.jpg", "drvs/nod.mp4", "drvs/talk.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.stem)
    (tmp_path / "refs" / "notes.txt").write_text("not a picture")
    (tmp_path / "w.json").write_text(json.dumps(WORKFLOW))
    return tmp_path


def command(files, *servers, rows=("--references", "refs", "--drivings", "drvs")):
    placed = [files / part if not part.startswith("--") else part for part in rows]
    urls = [part for server in servers for part in ("--server", server.url)]
    return ["submit", *urls, "--workflow", files / "w.json", "--output", files / "out", *placed]


@pytest.fixture
def submit(personalive, files):
    return lambda *servers, more=(), **options: personalive(*command(files, *servers, **options), *more)


def results(files):
    """What lies in each row's folder, by folder."""
    folders = [path for path in (files / "out").iterdir() if path.is_dir()]
    return {folder.name: sorted(path.read_text() for path in folder.iterdir()) for folder in folders}


def write_csv(files, *rows):
    with (files / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return "--csv", "rows.csv"


ALL = {
    "anna__nod": ["anna|nod|1"] * 2,
    "anna__talk": ["anna|talk|1"] * 2,
    "bert__nod": ["bert|nod|1"] * 2,
    "bert__talk": ["bert|talk|1"] * 2,
}
ONE = ("reference", "driving"), ("refs/anna.png", "drvs/nod.mp4")


# --- what arrives


def test_every_pair_gets_its_own_result(submit, server, files):
    one = server()
    outcome = submit(one)
    assert outcome.code == 0, outcome.err
    assert results(files) == ALL  # two files each: the preview is not fetched
    assert outcome.out.startswith(f"{files / 'out'}: 4 rows, 0 failed")
    assert outcome.err.count(": started\n") == 4
    assert "[4/4] bert__talk on" in outcome.err


def test_equal_files_are_uploaded_once(submit, server, files):
    one = server()
    (files / "refs" / "copy.png").write_text("anna")
    submit(one)
    assert len(one.posted) == 6
    assert len(one.uploads) == len(set(one.uploads)) == 4
    assert all(name.startswith("personalive/") for name in one.uploads)
    write_csv(files, *ONE)
    submit(one, rows=("--csv", "rows.csv"), more=("--set", "5.seed=2"))
    assert len(one.posted) == 7
    assert len(one.uploads) == 4  # found there by a later run too


def test_saved_names_differ_on_the_server_and_keep_their_folder(submit, server):
    one = server()
    submit(one)
    prefixes = [body["prompt"]["6"]["inputs"]["filename_prefix"] for body in one.posted]
    assert len(set(prefixes)) == 4
    assert all(prefix.startswith("pictures/out_") for prefix in prefixes)


def test_table_sets_inputs_row_by_row(submit, server, files):
    one = server()
    rows = write_csv(files, (*ONE[0], "5.seed", "Sampler.mode"), (*ONE[1], "7", ""), (*ONE[1], "8", "12"))
    outcome = submit(one, rows=rows, more=("--set", "5.sharp=false", "--set", "5.mode=b", "--json"))
    assert outcome.code == 0, outcome.err
    sampled = [body["prompt"]["5"]["inputs"] for body in one.posted]
    assert [(s["seed"], s["sharp"], s["mode"]) for s in sampled] == [(7, False, "b"), (8, False, "12")]
    assert results(files) == {"anna__nod": ["anna|nod|7"] * 2, "anna__nod_2": ["anna|nod|8"] * 2}
    assert [row["row"] for row in json.loads(outcome.out)["rows"]] == ["anna__nod", "anna__nod_2"]


def test_stems_that_collide_keep_their_folders_later(submit, server, files):
    one = server()
    (files / "refs" / "Anna.webp").write_text("other")
    submit(one)
    before = results(files)
    assert {"Anna__nod", "anna__nod_2"} <= set(before)  # not told apart by every file system
    (files / "refs" / "aNNA.bmp").write_text("third")
    (files / "refs" / "Anna.webp").unlink()
    submit(one)
    assert results(files) == {**before, "aNNA__nod_3": ["third|nod|1"] * 2, "aNNA__talk_3": ["third|talk|1"] * 2}


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids some of these names")
@pytest.mark.parametrize(
    ("picture", "film", "row"),
    [
        ("a:b '\"c.png", "-x\n\U0001f600.mp4", "a:b '\"c__-x\n\U0001f600"),
        (os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"film\xff.mp4"), os.fsdecode(b"caf\xe9__film\xff")),
        ("\u00e9" * 120 + ".png", "\U0001f600" * 60 + ".mp4", "\u00e9" * 59 + "__" + "\U0001f600" * 29),
    ],
)
def test_any_name_that_a_file_can_have(submit, server, files, picture, film, row):
    (files / "pictures").mkdir()
    (files / "films").mkdir()
    (files / "refs" / "anna.png").rename(files / "pictures" / picture)
    (files / "drvs" / "nod.mp4").rename(files / "films" / film)
    for more in (("--json",), ("--dry-run",)):
        outcome = submit(server(), rows=("--references", "pictures", "--drivings", "films"), more=more)
        assert outcome.code == 0, outcome.err
    assert results(files) == {row: ALL["anna__nod"]}


# From Python 3.14 on, the suffix of "...png" is none.
@pytest.mark.parametrize(
    ("name", "row"),
    [("submit.jsonl.png", "submit.jsonl_2"), ("...png", ".._2" if sys.version_info < (3, 14) else "...png")],
)
def test_a_rows_folder_is_neither_the_journal_nor_above_it(submit, server, files, name, row):
    (files / "w.json").write_text(json.dumps({node: found for node, found in WORKFLOW.items() if node != "2"}))
    (files / "refs" / "anna.png").rename(files / name)
    assert submit(server(), rows=write_csv(files, ("reference",), (name,))).code == 0
    assert results(files) == {row: ["anna|1"] * 2}


def test_folders_say_what_they_leave_out(submit, server, files, caplog):
    (files / "refs" / "me.heic").write_text("")
    (files / "drvs" / "film.MTS").write_text("film")
    assert submit(server(), more=("--dry-run",)).out.count("film.MTS") == 2
    assert caplog.messages == [
        f"{files / 'refs'}: 2 files were left out: me.heic (.heic is no picture that can be read here: save it as PNG "
        "or JPEG), notes.txt (.txt is no picture that can be read here)"
    ]


def test_previews_are_fetched_where_nothing_else_is(submit, server, files):
    workflow = {node: found for node, found in WORKFLOW.items() if node not in "67"}
    (files / "w.json").write_text(json.dumps(workflow))
    submit(server(), rows=write_csv(files, *ONE))
    assert results(files) == {"anna__nod": ["preview"]}


def test_references_alone_are_rows_too(submit, server, files):
    (files / "w.json").write_text(json.dumps({node: found for node, found in WORKFLOW.items() if node != "2"}))
    submit(server(), rows=("--references", "refs"))
    assert results(files) == {"anna": ["anna|1"] * 2, "bert": ["bert|1"] * 2}


def test_names_from_the_server_are_never_paths():
    names = ("../../a.png", "..\\b.png", "C:c.png", "a.png")
    assert [*local_names([RemoteFile("5:1", name, "", "output") for name in names])] == [
        "a.png", "b.png", "c.png", "5_1_a.png",
    ]  # fmt: skip
    with pytest.raises(JobError, match="cannot be a file's name"):
        local_names([RemoteFile("5", "..", "", "output")])


def test_a_driving_that_a_player_shows_is_no_result():
    item = {"filename": "a.mp4", "subfolder": "", "type": "input", "start": 0.0}
    pair = [{"driving": item, "result": {**item, "type": "output"}}]
    assert outputs({"outputs": {"9": {"personalive_compare": pair, "animated": [True]}}}) == (
        RemoteFile("9", "a.mp4", "", "output"),
    )


# --- what fails


def test_node_errors_are_told_at_once_and_the_other_rows_are_done(submit, server, files):
    one = server("run", "fail")
    outcome = submit(one)
    assert outcome.code == 1
    assert len(one.posted) == 4  # not tried again
    assert sorted(results(files)) == ["anna__nod", "bert__nod", "bert__talk"]
    table = outcome.out.splitlines()[2:]
    assert [line.split("  ")[0].strip() for line in table] == ["row", "anna__talk"]
    assert table[1].endswith("Sampler (5): Use a larger picture.")
    assert one.url in table[1]
    submit(one, rows=write_csv(files, ONE[0], ("refs/anna.png", "drvs/talk.mp4")), more=("--set", "5.seed=2"))
    assert results(files)["anna__talk"] == ["anna|talk|2"] * 2  # what failed keeps no name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"3": {"class_type": "LoadImage", "inputs": {"image": "a/b.png"}}}, "LoadImage (3): Invalid file: file: no"),
        ({"9": {"class_type": "Missing", "inputs": {}}}, "Cannot execute because node Missing does not exist."),
    ],
)
def test_refused_workflows_are_told_with_the_node(submit, server, files, change, words):
    (files / "w.json").write_text(json.dumps({**WORKFLOW, **change}))
    more = ("--reference-node", "1")
    outcome = submit(server(), rows=write_csv(files, *ONE), more=more)
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1].endswith(words)


def test_half_a_workflow_is_not_run(submit, server, files):
    one = server("partial")
    outcome = submit(one, rows=write_csv(files, *ONE))
    assert "Save (7): Invalid file" in outcome.out
    assert one.cancelled == [one.posted[0]["prompt_id"]]


def test_a_file_that_is_too_large_names_the_option(submit, server, files):
    (files / "refs" / "anna.png").write_bytes(bytes(3000))
    outcome = submit(server(largest=2000), rows=write_csv(files, *ONE))
    assert "--max-upload-size" in outcome.out


def test_a_workflow_that_saves_nothing_says_so(submit, server, files):
    (files / "w.json").write_text(json.dumps({node: WORKFLOW[node] for node in "125"}))
    outcome = submit(server(), rows=write_csv(files, *ONE))
    assert "the workflow saved no file" in outcome.out


def test_a_folder_that_cannot_be_made_fails_its_row_alone_and_is_fetched_later(submit, server, files):
    one = server()
    (files / "out").mkdir()
    (files / "out" / "anna__nod").write_text("in the way")
    outcome = submit(one)
    assert outcome.code == 1
    assert outcome.out.startswith(f"{files / 'out'}: 4 rows, 1 failed")
    assert outcome.out.splitlines()[-1].endswith("anna__nod cannot be read or written (File exists): check it")
    (files / "out" / "anna__nod").unlink()
    assert results(files) == {name: made for name, made in ALL.items() if name != "anna__nod"}
    assert submit(one).code == 0
    assert results(files) == ALL
    assert len(one.posted) == 4  # the server still had its result


def test_an_input_that_is_gone_fails_its_rows_alone(submit, server, files, monkeypatch):
    one, upload = server(), remote.Server.upload

    async def late(self, path, name):
        if path.stem == "bert":
            path.unlink(missing_ok=True)
        await upload(self, path, name)

    monkeypatch.setattr(remote.Server, "upload", late)
    outcome = submit(one)
    assert outcome.code == 1
    assert outcome.out.count("bert.jpg cannot be read or written (No such file or directory): check it") == 2
    assert results(files) == {name: made for name, made in ALL.items() if name.startswith("anna")}
    (files / "refs" / "bert.jpg").write_text("bert")
    monkeypatch.undo()
    assert submit(one).code == 0
    assert results(files) == ALL


def test_a_result_that_cannot_be_written_ends_it_and_is_fetched_later(submit, server, files, monkeypatch):
    def full(path, _):
        raise OutputError(f"{path} was not written (No space left on device): free space and try again.")

    one = server()
    monkeypatch.setattr(remote, "whole_file", full)
    assert submit(one, rows=write_csv(files, *ONE)).code == OutputError.exit_code
    monkeypatch.undo()
    assert submit(one, rows=write_csv(files, *ONE)).code == 0
    assert len(one.posted) == 1


# --- what may pass


def test_interrupted_jobs_are_tried_again(submit, server, files):
    one = server("interrupt")
    outcome = submit(one)
    assert outcome.code == 0
    assert results(files) == ALL
    assert len(one.posted) == 5
    assert "to be tried again (it was cancelled on the server)" in outcome.err


def test_retries_end(submit, server, files):
    one = server(*["interrupt"] * 9)
    outcome = submit(one, rows=write_csv(files, *ONE), more=("--retries", "1"))
    assert outcome.code == 1
    assert len(one.posted) == 2
    assert "it was cancelled on the server (2 tries)" in outcome.out


def test_a_lost_socket_loses_nothing(submit, server, files):
    one = server("drop")
    assert submit(one).code == 0
    assert results(files) == ALL
    assert len(one.posted) == 4


def test_two_servers_share_the_rows_and_one_dies(submit, server, files):
    one, two = server(), server("die")
    outcome = submit(one, two)
    assert outcome.code == 0, outcome.err
    assert results(files) == ALL
    assert len(two.posted) == 1
    assert len(one.posted) == 4
    assert f"{two.url}: not ready, tried again later" in outcome.err


def test_one_server_that_never_answers_does_not_end_it(submit, server, files):
    one, two = server("hold"), server()
    two.stop()
    threading.Timer(1, one.release.set).start()  # longer than the second is waited for
    assert submit(one, two).code == 0
    assert results(files) == ALL


def test_a_server_that_comes_back_works_again(submit, server, files, monkeypatch):
    monkeypatch.setattr(submit_command, "Policy", functools.partial(Policy, waits=(0.1,) * 99))
    one = server("die")
    came = []

    def revive(line):
        if "not ready" in line:
            one.stop()
            one.start()
            came.append(line)

    monkeypatch.setattr(submit_command, "_tell", revive)
    assert submit(one).code == 0
    assert came
    assert results(files) == ALL


def test_all_servers_lost_ends_with_what_is_open(submit, server, files):
    one = server("run", "die")
    outcome = submit(one)
    assert outcome.code == 1
    assert results(files) == {"anna__nod": ALL["anna__nod"]}
    assert outcome.out.count("every server was lost") == 3
    one.start()
    assert submit(one).code == 0
    assert results(files) == ALL


def test_a_server_that_falls_silent_is_lost(submit, server, files, monkeypatch):
    monkeypatch.setattr(remote, "ANSWER", 1)  # a busy machine may need a part of it
    monkeypatch.setattr(remote, "RECONNECTS", 2)
    one, two = server("mute"), server("hold")  # the second is busy when the first falls silent
    threading.Timer(1, two.release.set).start()
    outcome = submit(one, two)
    assert outcome.code == 0, outcome.err
    assert results(files) == ALL
    assert f"{one.url} does not answer" in outcome.err
    assert len(one.posted) == 1


def test_an_upload_that_nobody_reads_is_given_up(tmp_path, monkeypatch):
    """The server died between taking the connection and reading from it; what waits in buffers counts for nothing."""
    monkeypatch.setattr(remote, "ANSWER", 0.2)
    monkeypatch.setattr(remote, "SLOWEST", 1e9)
    film = tmp_path / "film.mp4"
    film.touch()
    os.truncate(film, 32 << 20)

    async def deaf(reader, writer):
        if (await reader.readline()).startswith(b"HEAD"):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
        else:
            await asyncio.sleep(60)

    async def scene():
        async with await asyncio.start_server(deaf, "127.0.0.1", 0) as listening, remote.open_session() as session:
            one = remote.Server(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", session)
            with pytest.raises(remote.UnreachableError, match="does not answer"):
                await asyncio.wait_for(one.upload(film, "film.mp4"), 20)

    asyncio.run(scene())


def test_no_server_at_all_is_said_at_once(submit, server):
    one = server()
    one.stop()
    outcome = submit(one)
    assert outcome.code == 1
    assert outcome.err == f"personalive: {one.url} does not answer (Connection refused): see whether it runs\n"


def test_a_silent_job_is_given_up(submit, server, files):
    one = server("hang")
    outcome = submit(one, rows=write_csv(files, *ONE), more=("--timeout", "1"))
    assert outcome.code == 0, outcome.err
    assert "no sign of life for 1 s" in outcome.err
    assert set(one.cancelled) == {one.posted[0]["prompt_id"]}


def test_a_stuck_server_gets_no_more_jobs(submit, server, files):
    one, two = server("stuck"), server("hold")  # the second is busy when the first is given up
    threading.Timer(1, two.release.set).start()
    outcome = submit(one, two, more=("--timeout", "1"))
    assert outcome.code == 0, outcome.err
    assert results(files) == ALL
    assert (len(one.posted), len(two.posted)) == (1, 4)


# --- what resumes


def test_a_server_that_dies_while_it_is_asked_for_its_jobs_is_done_without(submit, server, files, monkeypatch):
    one = server("run", "hold")
    client = run_apart(files, one)
    one.wait_for(lambda: len(one.posted) == 2)
    client.kill()
    client.communicate()
    one.release.set()
    history, asked = remote.Server.history, []

    async def dying(self, job):
        asked.append(job)
        if len(asked) == 1:
            raise remote.UnreachableError("it died")
        return await history(self, job)

    monkeypatch.setattr(remote.Server, "history", dying)
    outcome = submit(one, server())
    assert outcome.code == 0, outcome.err
    assert "picked up again" not in outcome.err
    assert results(files) == ALL


def test_finished_rows_are_not_repeated(submit, server, files):
    one = server("run", "fail")
    submit(one)
    next((files / "out" / "bert__nod").iterdir()).unlink()
    next((files / "out" / "bert__talk").iterdir()).write_text("short")
    assert submit(one).code == 0
    assert len(one.posted) == 7  # the failed one, and those that lost a file or its end
    assert results(files) == ALL
    one.stop()
    assert submit(one).code == 0  # nothing to do: no server is asked


def test_a_line_cut_short_costs_only_itself(submit, server, files):
    one = server()
    submit(one)
    journal = files / "out" / JOURNAL
    journal.write_text(journal.read_text()[:-20])
    assert len(read_journal(files / "out")) == 4
    assert submit(one).code == 0
    assert len(one.posted) == 4  # the server still had it
    assert all(record.is_whole(files / "out") for record in read_journal(files / "out").values())


# a runner in the background ignores Ctrl-C, and its children would inherit that
APART = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from personalive_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_apart(files, *servers):
    """The same command in a process of its own."""
    line = [sys.executable, "-c", APART, *map(str, command(files, *servers))]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True)


def test_a_killed_client_goes_on_where_it_was(submit, server, files):
    one = server("run", "hold")
    client = run_apart(files, one)
    one.wait_for(lambda: len(one.posted) == 2)
    client.kill()
    client.communicate()
    threading.Timer(0.5, one.release.set).start()
    outcome = submit(one)
    assert outcome.code == 0, outcome.err
    assert len(one.posted) == 4  # the one that ran went on
    assert "anna__talk on" in outcome.err
    assert "picked up again" in outcome.err
    assert results(files) == ALL


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to another process")
def test_ctrl_c_interrupts_the_jobs_and_keeps_the_journal(submit, server, files):
    one = server("run", "hold")
    client = run_apart(files, one)
    one.wait_for(lambda: len(one.posted) == 2 and one.running)
    client.send_signal(signal.SIGINT)
    said = client.communicate(timeout=20)[1]
    assert client.returncode == 130
    assert said.endswith("personalive: interrupted\n")
    assert one.cancelled == [one.posted[1]["prompt_id"]]
    one.wait_for(lambda: len(one.history) == 2)
    assert submit(one).code == 0
    assert len(one.posted) == 5  # the interrupted one again, the first not
    assert results(files) == ALL


# --- what is asked for


def test_dry_run_lists_and_touches_nothing(submit, server, files):
    one = server()
    outcome = submit(one, more=("--dry-run",))
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["row", *ALL]
    assert outcome.out.count("to do") == 4
    assert not (files / "out").exists()
    assert not one.uploads
    submit(one, rows=write_csv(files, *ONE))
    assert submit(one, more=("--dry-run",)).out.splitlines()[1].endswith("done")


def test_nodes_are_chosen_by_title_or_by_hand(submit, server, files):
    other = {"class_type": "LoadImage", "inputs": {"image": "y.png"}}
    both = {**WORKFLOW, "9": other, "10": {**other, "_meta": {"title": "My REFERENCE picture"}}}
    (files / "w.json").write_text(json.dumps({**both, "9": {**other, "_meta": {"title": "the driving"}}, "1": other}))
    one = server()
    dry = ("--dry-run",)
    assert submit(one, more=dry).code == 0
    (files / "w.json").write_text(json.dumps({**WORKFLOW, "9": other}), encoding="utf-8-sig")
    refused = submit(one, more=dry)
    assert refused.code == InputError.exit_code
    assert 'has 2 LoadImage nodes, and not one alone with "reference" in its title' in refused.err
    assert "--reference-node" in refused.err
    assert submit(one, more=(*dry, "--reference-node", "9")).code == 0


def test_a_picture_can_drive(submit, server, files):
    workflow = {**WORKFLOW, "2": {"class_type": "LoadImage", "inputs": {"image": "y"}, "_meta": {"title": "Driving"}}}
    workflow["1"] = {**WORKFLOW["1"], "_meta": {"title": "Reference"}}
    (files / "w.json").write_text(json.dumps(workflow))
    submit(server(), rows=("--references", "refs", "--drivings", "refs"))
    assert results(files)["anna__bert"] == ["anna|bert|1"] * 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--set", "5.seed=much"), "5.seed takes a number, now 1, but got 'much'"),
        (("--set", "5.sharp=1"), "5.sharp takes true or false, now True, but got '1'"),
        (("--set", "5.sead=2"), "Sampler (5) has no input 'sead': it has seed, sharp, mode, image"),
        (("--set", "Nobody.seed=2"), "no node has the id or title 'Nobody'"),
        (("--set", "Save.filename_prefix=2"), "2 nodes have the id or title 'Save'"),
        (("--set", "seed=2"), "expected NODE.INPUT=VALUE such as 6.seed=42, got 'seed=2'"),
        (("--server", "127.0.0.1:8188"), "expected an address such as http://127.0.0.1:8188"),
        (("--reference-node", "8"), "PreviewImage (8) has none of the inputs image, file, video"),
        (("--csv", "x.csv"), "either --references and --drivings, or --csv"),
        (("--drivings", "nowhere"), "nowhere is no folder"),
        (("--retries", "-1"), "argument --retries: expected a number 0 or more"),
    ],
)
def test_nonsense_is_refused_before_a_server_is_asked(submit, server, more, words):
    one = server()
    outcome = submit(one, more=more)
    assert outcome.code == InputError.exit_code
    assert words in outcome.err
    assert not one.uploads


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"nodes": [], "links": []}', "Workflow > Export (API)"),
        ("{}", "is no workflow in API format"),
        ('{"1": 2}', "is no workflow in API format"),
        ("PNG", "cannot be read as a workflow"),
    ],
)
def test_other_workflow_files_are_refused(submit, server, files, text, words):
    (files / "w.json").write_text(text)
    assert words in submit(server()).err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("reference", "note"), ("refs/anna.png", "x")], "the column 'note' is neither reference, driving nor"),
        ([("reference", "driving"), ("refs/anna.png", "drvs/gone.mp4")], "line 2: no such file"),
        ([("reference", "driving"), ("refs/anna.png", "drvs/nod.mp4", "3")], "line 2: more cells than columns"),
        ([("reference", "5.seed"), ("", "3")], "line 2: names no file"),
        ([("reference",)], "has no rows"),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(submit, server, files, rows, words):
    outcome = submit(server(), rows=write_csv(files, *rows))
    assert outcome.code == InputError.exit_code
    assert words in outcome.err
