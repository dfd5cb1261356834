"""`source:` in git: the code of a service by ref, beside what runs, and what happens when its repository is away."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from support import repository
from support.origins import git_server, public_sandbox, push, push_tree, silent_server
from support.sandbox import kill_and_wait, wait_until


@pytest.fixture
def box():
    with public_sandbox() as made:
        yield made


def test_a_new_commit_replaces_exactly_its_service_and_an_old_one_restarts_nothing(box):
    origin = box.origin()
    first = repository.git(origin, "rev-parse", "HEAD")
    box.sourced("api", origin)
    box.sleeper("other")
    done = box.run("up")
    assert f"api: checking out {first[:8]} (main)" in done.stdout
    assert box.checkout() == box.state / "code/api" / first
    assert (box.checkout() / "word").read_text() == "one"
    assert not (box.checkout() / ".git").exists()
    before = box.pids()
    assert box.run("up").stdout.startswith("nothing to do: 2 programs as they should be")
    repository.git(origin, "branch", "same")
    assert box.run("up", tags=("mode=review", "ref=same")).stdout.startswith("nothing to do")
    assert box.pids() == before
    second = push(origin, word="two")
    done = box.run("up", "--json")
    assert {action["program"]: (action["action"], action["reasons"]) for action in done.json["actions"]} == {
        "api-web": ("replace", [f"code is now {second[:8]} (main), was {first[:8]} (main)"]),
        "other-web": ("keep", ["nothing that it uses has changed"]),
    }
    assert (box.checkout() / "word").read_text() == "two"
    assert box.pids()["other-web"] == before["other-web"]


def test_runtime_path_and_directory_are_the_checkout_s_and_are_no_reason_of_their_own(box):
    origin = box.origin()
    (origin / "app").mkdir()
    (origin / "app" / "x").write_text("x")
    first = repository.commit(origin, "app")
    box.sourced("api", origin, "directory: app\nruntime: {path: [bin]}")
    box.run("up")
    assert box.checkout() == box.state / "code/api" / first / "app"
    path = box.environ_of(box.pids()["api-web"])[b"PATH"].decode()
    assert path.startswith(f"{box.state}/code/api/{first}/app/bin:")
    assert box.run("config", "get", "PATH", "--service", "api").stdout.strip() == path
    second = push(origin, word="two")
    assert box.run("plan").stdout == (f"replace api-web  code is now {second[:8]} (main), was {first[:8]} (main)\n")


def test_a_plan_resolves_without_writing_anything(box):
    origin = box.origin()
    box.sourced("api", origin)
    assert box.run("plan").stdout == "start   api-web  it is not running\n"
    assert not box.state.exists()
    box.run("up")
    push(origin, word="two")
    mirrors = sorted(os.walk(box.state / "mirrors"))
    box.run("plan")
    assert sorted(os.walk(box.state / "mirrors")) == mirrors
    assert len(box.code()) == 1


def test_a_ref_that_one_repository_lacks_gives_its_default_and_one_that_all_lack_is_an_error(box):
    api, web = box.origin("api"), box.origin("web")
    box.sourced("api", api)
    box.sourced("web", web)
    main = repository.git(api, "rev-parse", "HEAD")
    repository.git(web, "checkout", "-qb", "fix-1")
    fix = push(web, word="fixed")
    done = box.run("up", tags=("mode=review", "ref=fix-1"))
    assert f'api: no ref "fix-1", using main ({main[:8]})\n' in done.stdout
    assert box.checkout("api-web").name == main
    assert box.checkout("web-web").name == fix
    before = box.pids()
    done = box.run("up", tags=("mode=review", "ref=fix-2"), code=2)
    assert done.stderr == (
        'error: cannot use tag "bootstrap:ref": no source of this box has a branch, tag, commit or version "fix-2"; '
        'did you mean "fix-1"?\n'
        f"  where: {api} (api), {web} (web)\n"
        "  way out: push it there, or correct the tag\n"
    )
    done = box.run("up", tags=("mode=review", "ref=fix-1", "ref.api=fix-1"), code=2)
    assert done.stderr == (
        'error: cannot use tag "bootstrap:ref.api": its source has no branch, tag, commit or version "fix-1"\n'
        f"  where: {api} (api)\n"
        "  way out: push it there, or correct the tag\n"
    )
    assert box.pids() == before


def test_a_tag_and_a_commit_are_refs_too(box):
    origin = box.origin()
    first = repository.git(origin, "rev-parse", "HEAD")
    repository.git(origin, "tag", "-am", "the first", "v1")
    push(origin, word="two")
    box.sourced("api", origin)
    box.run("up", tags=("mode=review", "ref=v1"))
    assert box.checkout().name == first
    before = box.pids()
    assert "commit there, only up finds out" not in box.run("plan", tags=("mode=review", f"ref={first[:9]}")).stdout
    box.run("up", tags=("mode=review", f"ref.api={first[:9]}"))
    assert box.pids() == before, "the same commit by another name"


def test_a_server_that_hangs_is_ended_in_time_and_what_runs_goes_on(box):
    origin = box.origin()
    first = repository.git(origin, "rev-parse", "HEAD")
    shutil.move(box.directory / "api", box.directory / "api.git")
    with git_server(box.directory) as address:
        box.sourced("api", f"http://{address}/api.git/.git")
        box.run("up")
    before = box.pids()
    with silent_server() as url:
        box.sourced("api", url)
        begun = time.monotonic()
        done = box.run("up", environ={"BOOTSTRAP_SOURCE_TIMEOUT": "0.5"}, code=75)
        assert time.monotonic() - begun < 5
        assert done.stderr == (
            'error: cannot fetch service "api": it did not answer in time\n'
            f"  where: {url} (within 0.5 s), and this box has nothing of it that would do\n"
            "  way out: see that this machine reaches it and may read it; BOOTSTRAP_SOURCE_TIMEOUT gives it longer; "
            "what ran before still runs\n"
        )
        assert not _processes_about(url), "git and whatever it has started are gone"
    assert box.pids() == before
    box.sourced("api", f"http://{address}/api.git/.git")
    done = box.run("up")
    assert f"it stays at {first[:8]} (main)\n" in done.stdout
    assert box.pids() == before


def test_what_a_killed_up_has_started_is_ended_in_time_or_by_the_next_one(box):
    origin = box.origin()
    with silent_server() as url:
        box.sourced("api", url)
        box.environ["BOOTSTRAP_SOURCE_TIMEOUT"] = "1"
        _kill_while_git_asks(box, url)
        wait_until(lambda: not _processes_about(url), "the deadline")
        box.environ["BOOTSTRAP_SOURCE_TIMEOUT"] = "60"
        _kill_while_git_asks(box, url)
        box.sourced("api", origin)
        box.run("up")
        assert not _processes_about(url)
    assert (box.checkout() / "word").read_text() == "one"


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root has his own keys")
def test_a_deploy_key_is_ssh_s_for_as_long_as_it_asks_and_ssh_never_asks_back(box):
    credentials = box.directory / "credentials"
    credentials.mkdir()
    for name in ("api.key", "ssh.key", "known_hosts"):
        (credentials / name).write_text(name)
        (credentials / name).chmod(0o600)
    with silent_server() as url:
        box.sourced("api", f"ssh://git@127.0.0.1:{url.split(':')[2]}")
        box.environ["BOOTSTRAP_SOURCE_TIMEOUT"] = "3"
        child = box.start("up")
        words = wait_until(lambda: _processes_about("-oBatchMode=yes\0"), "ssh")[0].decode().split("\0")
        key = Path(words[words.index("-i") + 1])
        assert key.read_text() == "api.key"
        assert (key.owner(), oct(key.stat().st_mode), oct(key.parent.stat().st_mode)) == ("root", "0o100640", "0o40710")
        assert "-oStrictHostKeyChecking=yes" in words
        assert f"-oUserKnownHostsFile={key.parent}/known_hosts" in words
        assert b'cannot fetch service "api"' in child.communicate()[1]
        assert not key.parent.exists()
        child = box.start("up")
        words = wait_until(lambda: _processes_about("-oBatchMode=yes\0"), "ssh")[0].decode().split("\0")
        key = Path(words[words.index("-i") + 1])
        child.kill()
        child.wait()
        assert key.exists()
    box.sourced("api", box.origin())
    box.run("up")
    assert not key.parent.exists(), "what a killed run has left is removed by the next"


def test_a_mirror_of_many_deltas_is_packed(box):
    origin = box.origin()
    box.sourced("api", origin)
    box.run("up")
    mirror = next((box.state / "mirrors").glob("*.git"))
    owner = mirror.stat().st_uid
    _give(mirror, os.geteuid())
    for _ in range(52):
        repository.git(origin, "commit", "-qm", "one more", "--allow-empty")
        repository.git(mirror, "-c", "gc.auto=0", "-c", "fetch.unpackLimit=1", "fetch", "-q", str(origin), "main:main")
    _give(mirror, owner)
    assert len(list(mirror.glob("objects/pack/*.pack"))) > 50
    push(origin, word="last")
    box.run("up")
    assert len(list(mirror.glob("objects/pack/*.pack"))) < 5
    assert (box.checkout() / "word").read_text() == "last"


def _give(top, uid):
    for path in (top, *top.rglob("*")):
        os.chown(path, uid, -1)


def _kill_while_git_asks(box, url):
    child = box.start("up")
    wait_until(lambda: _processes_about(url), "git to ask")
    kill_and_wait(child.pid)


def _processes_about(word):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line and b"bin/bootstrap" not in line:
            found.append(line)
    return found


def test_out_of_reach_it_uses_the_mirror_for_a_ref_that_it_knows_and_guesses_for_none(box):
    origin = box.origin()
    repository.git(origin, "branch", "fix-1")
    second = push(origin, word="two")
    box.sourced("api", origin)
    box.run("up", tags=("mode=review", "ref=fix-1"))
    origin.rename(box.directory / "away")
    done = box.run("up")
    assert f"; using what was fetched last, {second[:8]} (main)\n" in done.stdout
    assert box.checkout().name == second
    before = box.pids()
    done = box.run("up", tags=("mode=review", "ref=fix-2"), code=75)
    assert done.stderr == (
        f'error: cannot fetch ref "fix-2" of service "api": \'{origin}\' does not appear to be a git repository\n'
        f"  where: {origin} (within 60 s), and this box has nothing of it that would do\n"
        "  way out: see that this machine reaches it and may read it; BOOTSTRAP_SOURCE_TIMEOUT gives it longer; "
        "what ran before still runs\n"
    )
    assert box.pids() == before
    box.run("down")
    box.run("up")
    assert box.checkout().name == second, "what was fetched outlives down"


def test_a_mirror_on_the_image_is_all_that_a_first_boot_needs(box):
    origin = box.origin()
    first = repository.git(origin, "rev-parse", "HEAD")
    seed = box.root / "mirrors/api.git"
    repository.git(box.directory, "clone", "-q", "--mirror", str(origin), str(seed))
    second = push(origin, word="two")
    box.sourced("api", origin)
    box.run("up")
    assert box.checkout().name == second
    mirror = next((box.state / "mirrors").glob("*.git"))
    assert (mirror / "objects/info/alternates").read_text() == f"{seed}/objects\n"
    box.run("down")
    shutil.rmtree(box.state)
    origin.rename(box.directory / "away")
    done = box.run("up")
    assert f"; using what was fetched last, {first[:8]} (main)\n" in done.stdout
    assert (box.checkout() / "word").read_text() == "one"


def test_a_damaged_mirror_is_made_anew_and_the_traces_of_a_killed_run_are_in_nobody_s_way(box):
    origin = box.origin()
    box.sourced("api", origin)
    box.run("up")
    mirror = next((box.state / "mirrors").glob("*.git"))
    (mirror / "packed-refs.lock").touch()
    (mirror / "refs/heads/main.lock").touch()
    (box.state / "mirrors/.new-api-cafe").mkdir()
    second = push(origin, word="two")
    box.run("up")
    assert box.checkout().name == second
    assert sorted(path.name for path in (box.state / "mirrors").iterdir()) == [mirror.name]
    shutil.rmtree(mirror / "objects")
    third = push(origin, word="three")
    box.run("up")
    assert box.checkout().name == third


def test_whatever_is_lost_of_a_checkout_is_put_back(box):
    origin = box.origin()
    box.sourced("api", origin)
    box.run("up")
    commit = box.code()[0]
    box.run("stop", "api")
    shutil.rmtree(box.state / "code")
    box.run("up")
    assert box.checkout() == box.state / "code/api" / commit
    assert (box.checkout() / "word").read_text() == "one"


def test_old_versions_go_but_none_that_a_generation_may_go_back_to(box):
    origin = box.origin()
    first = repository.git(origin, "rev-parse", "HEAD")
    box.sourced("api", origin)
    box.run("up")
    for age in range(1, 9):
        path = box.state / "code/api" / f"{age}"
        path.mkdir()
        os.utime(path, (0, 1000 - age))
    os.utime(box.state / "code/api" / first, (0, 0))
    second = push(origin, word="two")
    box.run("up")
    assert box.code() == sorted(["1", "2", "3", "4", first, second]), "the newest five, and what a generation uses"
    done = box.run("rollback")
    assert f"code is now {first[:8]} (main), was {second[:8]} (main)" in done.stdout
    assert (box.checkout() / "word").read_text() == "one"
    listed = box.run("generations").stdout.splitlines()
    assert listed[-1].endswith(f"review, 1 programs, api {first[:8]} (main)")
    listed = box.run("generations", "--json").json
    assert [one["code"] for one in listed] == [
        {"api": {"ref": "main", "version": second}},
        {"api": {"ref": "main", "version": first}},
    ]


def test_a_directory_that_is_missing_in_fetched_code_fails_that_program_alone(box):
    origin = box.origin()
    (origin / "app").mkdir()
    (origin / "app/here").touch()
    repository.commit(origin, "app")
    box.sourced("api", origin, "directory: app")
    box.sleeper("web")
    box.run("up")
    inner = box.checkout("api-web")
    inner.rename(inner.with_name("away"))
    box.run("down")
    done = box.run("up", "--json", code=1)
    assert done.json["failures"] == {
        "api-web": f'cannot start "api-web": its directory "{inner}" does not exist\n'
        "  where: services/api/service.yaml: directory\n  way out: make it, or name another one"
    }
    assert box.pids().keys() == {"web-web"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_enters_no_directory_that_the_service_s_user_has_put_in_the_place_of_his_own(box):
    origin = box.origin()
    (origin / "app").mkdir()
    (origin / "app/here").touch()
    repository.commit(origin, "app")
    box.sourced("api", origin, "directory: app", user="nobody")
    box.run("up")
    inner = box.checkout("api-web")
    assert inner.name == "app"
    private = box.directory / "private"
    (private / "project").mkdir(parents=True)
    private.chmod(0o700)
    inner.rename(inner.with_name("away"))
    inner.symlink_to(private / "project")
    box.run("restart", code=None)

    def last_exit():
        (program,) = box.status()["programs"]
        return program["last_exit"] and program["last_exit"]["code"]

    assert wait_until(last_exit, "its end") == 111


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_code_belongs_to_the_service_s_one_user_else_to_root_and_setup_may_write(box):
    origin = box.origin(tool="#!/bin/sh\n")
    (origin / "tool").chmod(0o755)
    repository.commit(origin, "a tool")
    box.sourced("api", origin, 'setup: ["id -un >made"]', user="daemon")
    box.sourced("web", origin)
    box.run("up")
    api, web = box.checkout("api-web"), box.checkout("web-web")
    assert {path.name: (path.owner(), oct(path.stat().st_mode)[-3:]) for path in (api, *api.iterdir())} == {
        api.name: ("daemon", "755"),
        "made": ("daemon", "644"),
        "tool": ("daemon", "755"),
        "word": ("daemon", "644"),
    }
    assert {path.owner() for path in (web, *web.iterdir(), web.parent)} == {"root"}
    mirrors = (box.state / "mirrors").stat()
    assert (mirrors.st_uid, oct(mirrors.st_mode)[-3:]) == (0, "710"), "nobody else gets in, not even as nobody"
    box.sourced("api", origin, 'setup: ["id -un >made"]', user="bin")
    box.run("up")
    assert {path.owner() for path in (api, *api.iterdir())} == {"bin"}


USE = 'cannot use the code of service "api", COMMIT (main): '
CHECK_OUT = 'cannot check out commit COMMIT of service "api": '
LINK = "\n  way out: take it out of there (a `setup` may make such things on the box); what ran before still runs"
MEND = "\n  where: ORIGIN\n  way out: mend it there, or name another ref; what ran before still runs"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            ("120000", "out", "../../../../etc/passwd"),
            f'{USE}"out" is a link that leads out of it, to "../../../../etc/passwd"{LINK}',
        ),
        (("120000", "ro\x1b[2Jot", "/"), f'{USE}"ro\\x1b[2Jot" is a link that leads out of it, to "/"{LINK}'),
        (("100644", ".git", "gitdir: /etc"), f"{CHECK_OUT}invalid path '.git'{MEND}"),
        (("100644", "..", "x"), f"{CHECK_OUT}invalid path '..'{MEND}"),
    ],
)
def test_a_hostile_tree_is_refused_and_what_ran_goes_on(box, entry, problem):
    origin = box.origin()
    box.sourced("api", origin)
    box.run("up")
    before, versions = box.pids(), box.code()
    commit = push_tree(origin, entry)
    done = box.run("up", code=2)
    assert done.stderr == f"error: {problem}\n".replace("COMMIT", commit[:8]).replace("ORIGIN", str(origin))
    assert box.pids() == before
    assert box.code() == versions
    assert not list((box.state / "mirrors").glob(".new*"))


def test_links_inside_odd_names_case_twins_and_submodules_do_no_harm(box):
    origin = box.origin()
    push_tree(
        origin,
        ("100644", "a\nb\x1b[2J", "odd"),
        ("100755", "README", "big"),
        ("100644", "readme", "small"),
        ("120000", "link", "./README"),
        ("160000", "vendor", "1" * 40),
        ("100644", ".gitattributes", "* filter=evil diff=evil\n"),
        ("100644", ".gitmodules", '[submodule "vendor"]\n\tpath = vendor\n\turl = ext::sh -c "touch /tmp/owned"\n'),
    )
    box.sourced("api", origin)
    done = box.run("up")
    assert 'api: "vendor" is a submodule and stays empty\n' in done.stdout
    found = box.checkout()
    assert (found / "a\nb\x1b[2J").read_text() == "odd"
    assert (found / "README").read_text() == "big"
    assert (found / "readme").read_text() == "small"
    assert (found / "link").read_text() == "big"


def test_hooks_and_settings_of_a_repository_on_this_machine_make_nothing_run(box):
    origin = box.origin()
    mark = box.directory / "ran"
    for hook in ("post-checkout", "pre-receive", "reference-transaction", "post-index-change"):
        path = origin / ".git/hooks" / hook
        path.write_text(f"#!/bin/sh\ntouch {mark}\n")
        path.chmod(0o755)
    for key in ("core.fsmonitor", "uploadpack.packObjectsHook", "core.alternateRefsCommand", "core.sshCommand"):
        repository.git(origin, "config", key, f"touch {mark}")
    box.sourced("api", origin)
    box.directory.chmod(0o777)
    box.run("up")
    box.directory.chmod(0o755)
    assert not mark.exists()


def test_a_password_goes_to_its_server_and_is_seen_nowhere(box):
    box.origin()
    login = base64.b64encode(b"deploy:s3cret@x").decode()
    with git_server(box.directory, login) as address:
        box.sourced("api", f"http://{address}/api/.git")
        done = box.run("up", code=75)
        assert done.stderr == (
            f"error: cannot fetch service \"api\": could not read Username for 'http://{address}': "
            "terminal prompts disabled\n"
            f"  where: http://{address}/api/.git (within 60 s), and this box has nothing of it that would do\n"
            "  way out: put a deploy key, a token or the host's key where docs/sources.md says "
            "(in /etc/bootstrap/credentials)\n"
        )
        credentials = box.directory / "credentials"
        credentials.mkdir()
        (credentials / "https").write_text(f"http://deploy:s3cret%40x@{address}\n")
        done = box.run("up", code=2)
        assert done.stderr == (
            f'error: cannot use credential "{credentials}/https": others may read or change it\n'
            "  way out: make it a file of root's with mode 0600\n"
        )
        (credentials / "https").chmod(0o600)
        assert "s3cret" not in box.run("up", "-v").stdout
        shutil.rmtree(credentials)
        box.sourced("api", f"http://deploy:s3cret%40x@{address}/api/.git")
        assert "s3cret" not in box.run("up", "-v").stdout
        box.sourced("api", f"http://deploy:wrong@{address}/api/.git")
        done = box.run("up", code=75)
        assert done.stderr.startswith('error: cannot fetch service "api": Authentication failed for')
        assert "wrong" not in done.stderr
    for folder, _, names in os.walk(box.state / "mirrors"):
        for name in names:
            assert b"s3cret" not in Path(folder, name).read_bytes()
    assert not list(Path("/dev/shm").glob("bootstrap-access-*/login"))


def test_run_and_export_use_the_code_that_is_here_and_ask_nobody(box):
    origin = box.origin()
    box.sourced("api", origin)
    done = box.run("run", "api", "--", "cat", "word", code=75)
    assert done.stderr == (
        'error: cannot use the code of service "api": it is not on this box\n'
        f"  where: {origin}\n"
        '  way out: run "bootstrap up", which fetches it\n'
    )
    box.run("up")
    push(origin, word="two")
    origin.rename(box.directory / "away")
    assert box.run("run", "api", "--", "cat", "word").stdout == "one"
    target = box.directory / "exported"
    box.run("export", "runit", str(target))
    done = subprocess.run(
        ["sh", str(target / "api-web/program/run"), "cat", "word"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "one"


def test_a_service_that_gets_a_source_says_what_it_ran_before(box):
    origin = box.origin()
    commit = repository.git(origin, "rev-parse", "HEAD")
    box.sleeper("api")
    box.run("up")
    box.sourced("api", origin)
    done = box.run("plan")
    assert (
        f"replace api-web  code is now {commit[:8]} (main), was what stands in the service's own folder\n"
        in done.stdout
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root fetches as somebody else")
def test_a_state_that_nobody_else_may_enter_is_told(sandbox):
    sandbox.service("api", "source: {git: /srv/api.git}\nprocesses: {web: {command: sleep 9}}\n")
    done = sandbox.run("up", code=2)
    assert done.stderr.startswith(f'error: cannot keep code in "{sandbox.state}/code/x": only its owner may enter ')


def test_a_timeout_that_is_no_number_is_refused(box):
    box.sourced("api", "/srv/api.git")
    done = box.run("up", environ={"BOOTSTRAP_SOURCE_TIMEOUT": "soon"}, code=2)
    assert done.stderr == (
        'error: cannot use BOOTSTRAP_SOURCE_TIMEOUT "soon": should be a number of seconds above 0\n'
        "  way out: leave it out (60), or set one\n"
    )
