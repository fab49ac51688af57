"""What a run of a sweep says of the command and the source around it."""

import subprocess

from orchestrator.sweep.around import environment


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_no_password_of_the_command_is_kept(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/jackpot", "run", "x", "--tracking", "http://me:s3cret@host/?token=s3cret"])
    assert environment()["command"] == "jackpot run x --tracking http://host/"


def test_the_commit_and_whether_anything_differs_from_it(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    (tmp_path / "spec.yaml").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.chdir(tmp_path)
    said = environment()
    assert (said["git_commit"], said["git_dirty"]) == (git(tmp_path, "rev-parse", "HEAD").strip(), False)
    (tmp_path / "spec.yaml").write_text("b")
    assert environment()["git_dirty"] is True


def test_a_folder_of_no_repository_says_nothing_of_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert not {"git_commit", "git_dirty"} & environment().keys()
