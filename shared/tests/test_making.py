import pytest

from drivelab_shared.errors import UserError
from drivelab_shared.making import Making

PIECES = ["a", "b", "c"]


@pytest.fixture
def making(tmp_path):
    return Making(tmp_path / "data", {"seed": 0, "size": (2, 3)})


def test_what_was_noted_is_not_made_again(making):
    assert making.begin(PIECES) == PIECES
    making.note("b")
    assert making.begin(PIECES) == ["a", "c"]


def test_finished_data_are_never_written_over(making):
    making.begin(PIECES)
    making.finish()
    assert [path.name for path in making.folder.iterdir()] == ["data.json"]
    with pytest.raises(UserError, match="expected an empty folder"):
        making.begin(PIECES)
    made = []
    making.ensure(lambda: made.append("again"))
    assert made == []


def test_a_folder_of_something_else_is_left_alone(making):
    making.folder.mkdir()
    (making.folder / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="expected an empty folder"):
        making.begin(PIECES)


def test_unfinished_data_with_another_record_are_left_alone(making):
    making.begin(PIECES)
    other = Making(making.folder, {"seed": 1, "size": (2, 3)})
    with pytest.raises(UserError, match="expected an empty folder"):
        other.begin(PIECES)
    with pytest.raises(UserError, match="expected finished data, got unfinished data"):
        other.ensure(lambda: None)


@pytest.mark.parametrize("state", ["no folder", "empty folder", "unfinished", "torn record"])
def test_ensure_makes_what_is_not_there(making, state):
    if state != "no folder":
        making.folder.mkdir()
    if state in ("unfinished", "torn record"):
        making.begin(PIECES)
    if state == "torn record":
        (making.folder / "data.json").write_text('{"se')
    made = []
    making.ensure(lambda: made.extend(making.begin(PIECES)))
    assert made == PIECES
