"""What a visitor does with the page."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncsr import Latents
from tests.app.conftest import open_page, playwright
from tests.conftest import scene8

expect = playwright.expect
expect.set_options(timeout=30_000)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """24 x 20 pixels."""
    path = tmp_path / "small.png"
    Image.fromarray(scene8(20, 24)).save(path)
    return path


def done(page, sentence: str = "Done") -> None:
    expect(page.locator("#status-text")).to_have_text(re.compile(sentence))


def labels(page) -> list[str]:
    return page.locator(".card b").all_inner_texts()


def make(page, photograph: Path, count: int = 1) -> None:
    page.locator("#count").fill(str(count))
    page.set_input_files("#file", photograph)
    expect(page.locator(".card")).to_have_count(2 + count)
    done(page)


def pixels(page, index: int) -> np.ndarray:
    """Of the picture on a card, as its file has them."""
    with page.expect_download() as download:
        page.locator(".card [data-act=save]").nth(index).click()
    return np.asarray(Image.open(download.value.path()))


def paint(page) -> None:
    """Paint over the left upper part."""
    page.locator("#region summary").click()
    page.locator("[name=brush][value=paint]").check(force=True)
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"], steps=3)
    page.mouse.up()


def test_samples_appear_with_wipe_linked_zoom_overlays_and_downloads(page, photograph):
    expect(page.locator("#limits")).to_contain_text("20 MB")
    make(page, photograph, 2)
    assert labels(page) == ["Bicubic", "Temperature 0", "Sample 1", "Sample 2"]
    assert pixels(page, 2).shape == (80, 96, 3)
    assert (pixels(page, 2) != pixels(page, 3)).any()
    expect(page.locator(".card small").first).to_have_text(re.compile(r"\d dB|exact"))

    wipe = page.locator("#wipe")
    wipe.focus()
    page.keyboard.press("ArrowRight")
    expect(wipe).to_have_attribute("aria-valuenow", "52")
    page.keyboard.press("Home")
    expect(wipe).to_have_attribute("aria-valuenow", "0")

    page.locator("#stage").focus()
    page.keyboard.press("+")
    places = page.evaluate(
        """() => [...document.querySelectorAll('.layer img:not([hidden])')]
            .map((image) => getComputedStyle(image).transform.split(', ')[0])"""
    )
    assert set(places) == {"matrix(1.5"}  # all of them alike

    page.locator("#overlay").select_option("deviation")
    expect(page.locator("#layer-a .over")).to_be_visible()
    expect(page.locator("#legend")).to_contain_text("grey levels")

    page.locator("summary", has_text="Download").click()
    for what, check in (
        ("all", lambda path: len(zipfile.ZipFile(path).namelist()) == 5),
        ("sheet", lambda path: Image.open(path).format == "PNG"),
        ("latents", lambda path: Latents.load(path).samples == 1),
        ("picture", lambda path: b"synthetic detail" in Path(path).read_bytes()),
    ):
        with page.expect_download() as download:
            page.locator(f"[data-download={what}]").click()
        assert check(download.value.path()), what


def test_what_is_painted_is_redrawn_and_all_else_stays(page, tmp_path):
    photograph = tmp_path / "wide.png"
    Image.fromarray(scene8(20, 64)).save(photograph)
    make(page, photograph)
    page.locator("#a").select_option(label="Sample 1")
    paint(page)
    page.locator("#variants").fill("1")
    page.locator("#redraw").click()
    expect(page.locator(".card")).to_have_count(4)
    done(page)
    changed = (pixels(page, 2) != pixels(page, 3)).any(2)
    assert changed[:40, :80].any()
    assert not changed[:, 200:].any()

    page.locator("#b").select_option(label="Temperature 0")
    page.locator("#combine").click()
    expect(page.locator(".card")).to_have_count(5)
    done(page)
    page.locator("#temper").click()
    expect(page.locator(".card")).to_have_count(6)
    done(page)
    page.locator("#undo").click()
    expect(page.locator(".card")).to_have_count(5)

    page.locator("summary", has_text="Walk").click()
    page.locator("#frames").fill("4")
    page.locator("#walk").click()
    expect(page.locator("#walk-result img")).to_be_visible()


def test_visitors_do_not_see_each_other_and_nothing_is_kept_of_who_left(chromium, address, page, photograph, wrong):
    other = open_page(chromium, address, wrong)
    with page.expect_response(re.compile(r"/p\d+\.png")) as response:
        make(page, photograph)
    url = response.value.url
    expect(other.locator(".card")).to_have_count(0)
    assert other.request.get(url).ok  # for who has the secret
    assert other.request.get(re.sub(r"visits/\w+", "visits/0", url)).status == 400
    assert other.request.get(re.sub(r"files/", "files/..%2f", url)).status == 404
    make(other, photograph, 2)
    assert len(labels(page)) == 3
    page.goto("about:blank")
    expect(other.locator("#status-text")).to_have_text("Done.")
    assert other.request.get(url).status == 400
    other.context.close()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.txt", b"words", "notes.txt is no photograph"),
        ("empty.png", b"", "empty.png: it is empty"),
        ("noise.png", bytes(range(200)), "noise.png: its content is no PNG"),
        ("huge.png", bytes(30 * 10**6), "huge.png has 30.0 MB: up to 20 MB"),
    ],
)
def test_wrong_files_are_refused_in_a_sentence(page, tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    page.set_input_files("#file", path)
    expect(page.locator("#notice")).to_contain_text(sentence)
    assert labels(page) == []


def test_the_server_refuses_what_the_page_would_not_send(page, address):
    visit = page.request.post(f"{address}/visits").json()["id"]
    huge = page.request.post(f"{address}/visits/{visit}/photograph?title=huge.png", data=bytes(30 * 10**6))
    assert huge.json() == {"error": "huge.png is too large: up to 20 MB are taken"}
    large = BytesIO()
    Image.new("RGB", (600, 500)).save(large, "PNG")
    answer = page.request.post(f"{address}/visits/{visit}/photograph?title=large.png", data=large.getvalue())
    assert "large.png has too many pixels: up to 0.26 megapixels" in answer.json()["error"]
    for closed in ("config", "gradio_api/upload", "gradio_api/file=/etc/passwd", "monitoring"):
        assert page.request.get(f"{address}/{closed}").status == 404
    assert page.request.post(f"{address}/visits", headers={"sec-fetch-site": "cross-site"}).status == 403
    assert page.request.get(address, headers={"host": "elsewhere.example"}).status == 403


def test_a_job_is_cancelled_and_the_page_goes_on(page, tmp_path, photograph):
    large = tmp_path / "large.png"
    Image.fromarray(scene8(300, 300)).save(large)
    page.locator("#count").fill("8")
    page.set_input_files("#file", large)
    expect(page.locator(".card")).not_to_have_count(0)
    page.locator("#cancel").click()
    done(page, "Cancelled")
    assert len(labels(page)) < 10
    make(page, photograph)
    assert labels(page) == ["Bicubic", "Temperature 0", "Sample 1"]


def test_a_reload_begins_anew(page, photograph):
    make(page, photograph)
    page.reload()
    expect(page.locator(".card")).to_have_count(0)
    make(page, photograph)


def test_a_reference_is_encoded_and_its_texture_given(page, tmp_path):
    path = tmp_path / "sharp.png"
    Image.fromarray(scene8(98, 120)).save(path)
    page.locator("#count").fill("1")
    page.set_input_files("#reference", path)
    expect(page.locator(".card")).to_have_count(4)
    done(page)
    assert labels(page) == ["Bicubic", "Reference", "Temperature 0", "Sample 1"]
    page.locator("summary", has_text="Reference").click()
    page.locator("#encode").click()
    expect(page.locator(".card")).to_have_count(5)
    done(page)
    page.locator("#remember").click()
    expect(page.locator("#texture")).to_be_enabled()
    page.locator("#texture").click()
    expect(page.locator(".card")).to_have_count(6)


def test_everything_is_reached_by_keyboard_and_has_a_name(page, photograph):
    make(page, photograph)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [tabindex]')].filter((e) =>
            !e.labels?.length && !e.textContent.trim() && !e.getAttribute('aria-label')).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    page.locator("h1").click()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id"))
    assert {"file", "example", "count", "temperature", "seed", "model", "make", "a", "b", "stage", "wipe"} <= reached
