"""The page that shows clouds: what it carries, and what it must never do."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from opv2v_stage2.predict.viewer import ViewedAgent, ViewedBox, ViewedCamera, ViewerScene, viewer_page, write_viewer
from opv2v_stage2.predict.viewer.packing import quantised
from opv2v_stage2.predict.viser_page import write_viser_page

HOSTILE = """</script><img src=x onerror="alert(1)"><!--<script>&amp;"""


class Page(HTMLParser):
    """Elements with their attributes, and the text of those that are no markup."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(dict(attrs).get("id") or tag)

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    @property
    def scene(self):
        return json.loads(self.texts["scene"])

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def agent(name="1045", num_points=500, seed=0):
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, 3] = 3.0 * seed, -2.0, 0.25
    return ViewedAgent(
        name=name,
        main_from_lidar=pose,
        cameras=[ViewedCamera(pose, (1.19, 0.89))],
        points=rng.normal(scale=(40, 30, 3), size=(num_points, 3)).astype(np.float32),
        colours=rng.integers(0, 256, (num_points, 3), dtype=np.uint8),
        footprint_m=rng.uniform(0.05, 1.5, num_points).astype(np.float32),
    )


@pytest.fixture
def scene():
    return ViewerScene(
        title="2021_08_18_19_48_05/000340",
        subtitle="two vehicles",
        agents=[agent("1045", seed=0), agent("-1", num_points=300, seed=1)],
        boxes=[ViewedBox(np.eye(4), np.array([2.25, 0.9, 0.75]))],
        ground_z=-1.93,
        overhead=np.full((30, 40, 3), 200, np.uint8),
    )


def decoded(packed):
    positions = np.frombuffer(base64.b64decode(packed["positions"]), "<i2").reshape(-1, 3)
    paint = np.frombuffer(base64.b64decode(packed["paint"]), np.uint8).reshape(-1, 4)
    return np.array(packed["offset"]) + packed["step"] * positions, paint


def test_points_and_colours_survive_the_way_into_the_page(scene):
    packed = Page(viewer_page(scene)).scene
    for agent, carried in zip(scene.agents, packed["agents"], strict=True):
        points, paint = decoded(carried)
        np.testing.assert_allclose(points, agent.points, atol=0.51 * carried["step"] + 2e-6, rtol=0)
        np.testing.assert_array_equal(paint[:, :3], agent.colours)
        footprint = paint[:, 3] / 255 * carried["footprint_m"]
        assert (footprint > agent.footprint_m - 1e-5).all()
        assert (footprint < agent.footprint_m + 0.006).all()
        assert carried["name"] == agent.name
        assert carried["main_from_lidar"][3] == agent.main_from_lidar[0, 3]


def test_the_page_tells_how_exact_its_positions_are(scene):
    step_mm = 1000 * max(one["step"] for one in Page(viewer_page(scene)).scene["agents"])
    assert f"within {step_mm / 2:.1f} mm" in Page(viewer_page(scene)).scene["note"]


def test_positions_fill_16_bits_and_no_more():
    points = np.array([[-100, 0, 2], [100, 3, -1], [0, 1, 0.5]], np.float32)
    numbers, offset, step = quantised(points)
    assert numbers[:, 0].tolist() == [-32767, 32767, 0]
    assert offset.tolist() == [0, 1.5, 0.5]
    assert step == pytest.approx(200 / 65534)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((4, 3), 7.0), np.array([[1e4, -1e4, 0], [0, 0, 0]])])
def test_no_points_one_place_and_far_away_points_are_all_kept(points):
    numbers, offset, step = quantised(points.astype(np.float32))
    np.testing.assert_allclose(offset + step * numbers, points, atol=step)


def test_a_scene_without_points_is_a_page_too(scene):
    page = Page(viewer_page(replace(scene, agents=[agent(num_points=0)], boxes=[])))
    assert page.scene["agents"][0]["positions"] == ""
    assert page.scene["cut_end_m"] >= page.scene["height_end_m"]


def test_the_page_names_no_other_file_and_no_address(scene):
    text = viewer_page(scene)
    assert not re.search(r"https?:|\bfetch\(|XMLHttpRequest|\bimport\b|@import|url\(", text)
    sources = [attributes.get("src") or attributes.get("href") for _, attributes in Page(text).tags]
    assert all(source.startswith("data:image/png;base64,") for source in sources if source)


def test_the_policy_lets_exactly_the_pages_own_script_run(scene):
    page = Page(viewer_page(scene))
    policy = next(m["content"] for m in page.attributes("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.texts["script"].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_names_are_text_whatever_they_contain(scene):
    calm = Page(viewer_page(scene))
    agents = [replace(scene.agents[0], name=HOSTILE), scene.agents[1]]
    page = Page(viewer_page(replace(scene, title=HOSTILE, subtitle=HOSTILE, agents=agents)))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in calm.tags]
    assert page.scene["agents"][0]["name"] == HOSTILE
    assert page.texts["h1"] == HOSTILE


def test_every_element_that_the_script_asks_for_exists(scene):
    page = Page(viewer_page(scene))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    wanted = set(re.findall(r'byId\("([a-z-]+)"\)', page.texts["script"]))
    assert wanted
    assert wanted <= ids
    assert {"show-cameras", "show-axes", "show-boxes", "show-grid"} <= ids


def test_a_browser_without_scripts_sees_the_picture_from_above(scene):
    page = Page(viewer_page(scene))
    shown = [attributes for tag, attributes in page.tags if tag in ("figure", "div") and "id" in attributes]
    assert next("hidden" not in one for one in shown if one["id"] == "still")
    assert next("hidden" in one for one in shown if one["id"] == "viewer")
    assert page.attributes("img")[0]["src"].startswith("data:image/png;base64,iVBOR")


def test_visers_page_needs_no_server_and_no_network(scene, tmp_path, capsys):
    pytest.importorskip("viser")
    write_viser_page(tmp_path / "page.html", scene)
    text = (tmp_path / "page.html").read_text()
    assert "__VISER_EMBED_DATA__" in text
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', text)
    assert "http" not in capsys.readouterr().out


def test_equal_scenes_give_equal_files(scene, tmp_path):
    for name in ("a.html", "b.html"):
        write_viewer(tmp_path / name, scene)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.full((500, 3), np.nan, np.float32)}, "points: expected finite numbers"),
        ({"main_from_lidar": np.full((4, 4), np.inf)}, "main_from_lidar: expected finite numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(agent(), **changes)


def test_a_scene_needs_an_agent(scene):
    with pytest.raises(ValueError, match="expected at least one"):
        replace(scene, agents=[])
