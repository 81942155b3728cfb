"""What a visitor does with the page."""

from __future__ import annotations

import re
import zipfile
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncsr import Latents
from ncsr.upscaling.provenance import provenance
from tests.app.conftest import open_page, playwright
from tests.conftest import scene8

expect = playwright.expect
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 x 20 pixels."""
    return photograph_of(20, 24, tmp_path_factory.mktemp("page"))


def photograph_of(height: int, width: int, folder: Path) -> Path:
    path = folder / f"{width}x{height}.png"
    Image.fromarray(scene8(height, width)).save(path)
    return path


def done(page, sentence: str = "Done") -> None:
    expect(page.locator("#status-text")).to_have_text(re.compile(sentence))


def cards(page, count: int) -> None:
    expect(page.locator(".card:not([hidden])")).to_have_count(count)


def labels(page) -> list[str]:
    return page.locator(".card:not([hidden]) b").all_inner_texts()


def make(page, photograph: Path, count: int = 1) -> None:
    page.locator("#count").fill(str(count))
    page.set_input_files("#file", photograph)
    cards(page, 2 + count)
    done(page)


def saved(page, selector: str, index: int = 0) -> Path:
    """The file that a button gives."""
    with page.expect_download() as download:
        page.locator(selector).nth(index).click()
    path = Path(download.value.path()).with_name(download.value.suggested_filename)
    download.value.save_as(path)
    return path


def pixels(page, index: int) -> np.ndarray:
    """Of the picture on a card, as its file has them."""
    return np.asarray(Image.open(saved(page, ".card [data-act=save]", index)))


def brush(page, kind: str) -> None:
    page.locator(".segments label", has_text=kind).click()


def stroke(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the large view, in parts of it."""
    box = page.locator("#stage").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=3)
    page.mouse.up()


def painted(page) -> int:
    """How many pixels of the photograph the mask shows as painted or locked."""
    return page.evaluate(
        """() => { const mask = document.getElementById('mask');
            const data = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height).data;
            return data.filter((level, i) => i % 4 === 3 && level).length }"""
    )


def test_samples_appear_with_wipe_linked_zoom_overlays_and_downloads(page, photograph):
    expect(page.locator("#limits")).to_contain_text("0.26 megapixels (512 × 512) and 2 MB")
    make(page, photograph, 2)
    assert labels(page) == ["Bicubic", "Temperature 0", "Sample 1", "Sample 2"]
    assert pixels(page, 2).shape == (80, 96, 3)
    assert (pixels(page, 2) != pixels(page, 3)).any()
    expect(page.locator(".card small").first).to_have_text(re.compile(r"LR-PSNR (\d.* dB|exact)"))
    expect(page.locator("#tag-a")).to_have_text("A Sample 1")
    expect(page.locator("#tag-b")).to_have_text("B Temperature 0")
    page.locator("#swap").click()
    expect(page.locator("#a")).to_have_value(page.locator("#b option", has_text="Temperature 0").get_attribute("value"))

    wipe = page.locator("#wipe")
    wipe.focus()
    page.keyboard.press("ArrowRight")
    expect(wipe).to_have_attribute("aria-valuenow", "52")
    stroke(page, (0.52, 0.5), (0.25, 0.5))
    expect(wipe).to_have_attribute("aria-valuenow", "25")

    page.locator("#stage").focus()
    page.keyboard.press("+")
    places = page.evaluate(
        """() => [...document.querySelectorAll('.layer img:not([hidden])')]
            .map((image) => getComputedStyle(image).transform.split(', ')[0])"""
    )
    assert set(places) == {"matrix(1.5"}  # all of them alike

    for kind, legend in (("deviation", "grey levels"), ("invented", "adds to it"), ("disagreement", "all agree")):
        with page.expect_response(lambda answer, kind=kind: f"overlays/{kind}" in answer.url and answer.status == 200):
            page.locator("#overlay").select_option(kind)
        expect(page.locator("#layer-b .over")).to_be_visible()  # of the sample
        expect(page.locator("#legend")).to_contain_text(legend)
    page.locator("#overlay").select_option("likelihood")
    expect(page.locator(".over:not([hidden])")).to_have_count(0)

    page.locator("summary", has_text="Download").click()
    for what, check in (
        ("all", lambda path: len(zipfile.ZipFile(path).namelist()) == 5),
        ("sheet", lambda path: Image.open(path).format == "PNG"),
        ("latents", lambda path: Latents.load(path).samples == 1),
        ("picture", lambda path: provenance(path).picture == "most probable image"),
    ):
        assert check(saved(page, f"[data-download={what}]")), what
    told = provenance(saved(page, ".card [data-act=save]", 3))
    assert (told.samples, told.model) == ([1], "tiny")  # not the folder that it lies in


def test_what_is_painted_is_redrawn_and_all_else_stays(page, tmp_path):
    make(page, photograph_of(20, 64, tmp_path))
    page.locator("summary", has_text="Region").click()
    expect(page.locator("#redraw")).to_be_disabled()  # nothing is painted
    page.locator("#brush-size").fill("6")
    brush(page, "Paint")
    stroke(page, (0.1, 0.2), (0.2, 0.2))
    page.locator("#variants").fill("1")
    page.locator("#redraw").click()
    cards(page, 4)
    done(page)
    changed = (pixels(page, 2) != pixels(page, 3)).any(2)
    assert changed[:40, :80].any()
    assert not changed[:, 200:].any()
    expect(page.locator("#tag-b")).to_have_text("B Sample 1, redrawn 1")
    assert provenance(saved(page, ".card [data-act=save]", 3)).picture == "changed sample"

    page.locator("#b").select_option(label="Temperature 0")
    page.locator("#combine").click()
    cards(page, 5)
    done(page)
    page.locator("#temper").click()
    cards(page, 6)
    done(page)
    page.locator("#undo").click()
    cards(page, 5)
    page.keyboard.press("Control+Shift+Z")
    cards(page, 6)
    page.locator(".card [data-act=remove]").nth(5).click()
    cards(page, 5)
    page.keyboard.press("Control+Z")
    cards(page, 6)

    page.locator("summary", has_text="Walk").click()
    page.locator("#frames").fill("4")
    page.locator("#walk").click()
    expect(page.locator("#walk-result img")).to_be_visible()
    assert Image.open(saved(page, "#walk-gif")).n_frames == 6
    if page.locator("#walk-video").is_visible():
        content = saved(page, "#walk-video").read_bytes()
        assert content[4:8] == b"ftyp" or content[:4] == b"\x1a\x45\xdf\xa3"  # MP4, WebM


def test_brushes_paint_lock_erase_and_are_taken_back(page, photograph):
    make(page, photograph)
    page.locator("summary", has_text="Region").click()
    page.locator("#brush-size").fill("6")
    brush(page, "Paint")
    stroke(page, (0.5, 0.5), (0.5, 0.5))
    first = painted(page)
    assert 4 < first < 24 * 20
    expect(page.locator("#brush")).to_be_visible()
    page.locator("#stage").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", " "):  # without a mouse
        page.keyboard.press(key)
    assert painted(page) > first
    page.locator("#undo").click()
    assert painted(page) == first
    page.locator("#redo").click()
    both = painted(page)
    assert both > first
    brush(page, "Erase")
    stroke(page, (0.5, 0.5), (0.5, 0.5))
    assert painted(page) < both
    page.locator("#paint-none").click()
    assert painted(page) == 0

    brush(page, "Paint")
    stroke(page, (0.5, 0.5), (0.5, 0.5))
    page.locator("#brush-size").fill("8")
    brush(page, "Lock")
    stroke(page, (0.5, 0.5), (0.5, 0.5))
    expect(page.locator("#redraw")).to_be_disabled()  # nothing that is free is painted
    page.locator("#paint-all").click()
    assert painted(page) == 24 * 20
    with page.expect_request(re.compile("queue/join")) as request:
        page.locator("#temper").click()
    done(page)
    levels = np.frombuffer(b64decode(request.value.post_data_json["data"][0]["mask"]), np.uint8).reshape(20, 24)
    assert levels[10, 12] == 0
    assert levels[0, 0] == 255
    brush(page, "Move")
    assert 0 < painted(page) < 24 * 20  # an outline, to see what is under it
    expect(page.locator("#brush")).to_be_hidden()


def test_visitors_wait_for_each_other_and_nothing_is_kept_of_who_left(
    chromium, address, page, tmp_path, photograph, wrong
):
    other = open_page(chromium, address, wrong)
    with page.expect_response(re.compile(r"/p\d+\.png")) as response:
        make(page, photograph)
    url = response.value.url
    cards(other, 0)
    assert other.request.get(url).ok  # for who has the secret
    assert other.request.get(re.sub(r"visits/\w+", "visits/0", url)).status == 400
    assert other.request.get(re.sub(r"files/", "files/..%2f", url)).status == 404

    page.locator("#count").fill("8")
    page.set_input_files("#file", photograph_of(400, 400, tmp_path))
    expect(page.locator("#tag-b")).to_have_text("B Bicubic")  # at work
    other.locator("#count").fill("1")
    other.set_input_files("#file", photograph)
    done(other, "Waiting: one job is ahead of yours")
    page.goto("about:blank")  # which ends its job
    cards(other, 3)
    done(other)
    assert other.request.get(url).status == 400
    other.context.close()


def test_wrong_files_are_refused_in_a_sentence(page, tmp_path):
    for name, content, sentence in (
        ("notes.txt", b"words", "notes.txt is no photograph"),
        ("empty.png", b"", "empty.png: it is empty"),
        ("noise.png", bytes(range(200)), "noise.png: its content is no PNG"),
        ("huge.png", bytes(30 * 10**6), "huge.png has 30.0 MB: up to 2 MB"),
    ):
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", tmp_path / name)
        expect(page.locator("#notice")).to_contain_text(sentence)
    cards(page, 0)


def test_the_server_refuses_what_the_page_would_not_send(page, address):
    visit = page.request.post(f"{address}/visits").json()["id"]
    send = "async (url) => (await fetch(url, { method: 'POST', body: new Uint8Array(3e6) })).json()"
    huge = page.evaluate(send, f"{address}/visits/{visit}/photograph?title=huge.png")
    assert huge == {"error": "huge.png is too large: up to 2 MB are taken"}
    large = BytesIO()
    Image.new("RGB", (600, 500)).save(large, "PNG")
    answer = page.request.post(f"{address}/visits/{visit}/photograph?title=large.png", data=large.getvalue())
    assert "large.png has too many pixels: up to 0.26 megapixels" in answer.json()["error"]
    for closed in ("config", "gradio_api/upload", "gradio_api/file=/etc/passwd", "monitoring"):
        assert page.request.get(f"{address}/{closed}").status == 404
    assert page.request.post(f"{address}/visits", headers={"sec-fetch-site": "cross-site"}).status == 403
    assert page.request.get(address, headers={"host": "elsewhere.example"}).status == 403


def test_a_job_is_cancelled_and_the_page_goes_on(page, tmp_path, photograph):
    page.locator("#count").fill("8")
    page.set_input_files("#file", photograph_of(300, 300, tmp_path))
    expect(page.locator(".card")).not_to_have_count(0)
    page.locator("#cancel").click()
    done(page, "Cancelled")
    assert len(labels(page)) < 10
    make(page, photograph)
    assert labels(page) == ["Bicubic", "Temperature 0", "Sample 1"]
    expect(page.locator("#cancel")).to_be_hidden()
    page.reload()
    cards(page, 0)
    done(page, "The last pictures were forgotten")
    make(page, photograph)


def test_a_photograph_may_be_chosen_before_the_visit_is_open(page, address, tmp_path):
    """As by a quick hand, or over a slow network."""
    held = []
    page.route("**/visits", lambda route: held.append(route))
    page.goto(address, wait_until="domcontentloaded")
    page.set_input_files("#file", photograph_of(24, 20, tmp_path))
    page.wait_for_timeout(300)
    held[0].continue_()
    cards(page, 6)
    done(page)


def test_a_reference_is_encoded_and_its_texture_given(page, tmp_path):
    page.locator("#count").fill("1")
    page.set_input_files("#reference", photograph_of(98, 120, tmp_path))
    cards(page, 4)
    done(page)
    assert labels(page) == ["Bicubic", "Reference", "Temperature 0", "Sample 1"]
    page.locator("summary", has_text="Reference").click()
    page.locator("#encode").click()
    cards(page, 5)
    done(page)
    page.locator("#overlay").select_option("likelihood")
    expect(page.locator("#layer-b .over")).to_be_visible()
    page.locator("#remember").click()
    expect(page.locator("#texture")).to_be_enabled()
    page.locator("#texture").click()
    cards(page, 6)


def test_everything_is_reached_by_keyboard_in_order_and_has_a_name(page, photograph):
    make(page, photograph)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [tabindex]')].filter((e) =>
            !e.labels?.length && !e.textContent.trim() && !e.getAttribute('aria-label')).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    page.locator("h1").click()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => { const e = document.activeElement; const shown = e.matches('.hidden') ? e.nextElementSibling : e;
                return [e.id, getComputedStyle(shown).outlineStyle] }"""
        )
        assert told[1] == "solid" or told[0] == "", told  # the focus is seen
        reached.append(told[0])
    wanted = ["file", "example", "count", "temperature", "seed", "model", "make", "stage", "wipe", "a", "b", "zoom-in"]
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_shows_the_view_before_the_tools_and_colours_have_contrast(
    chromium, address, wrong, photograph, scheme
):
    page = open_page(chromium, address, wrong, width=400, color_scheme=scheme, reduced_motion="reduce")
    make(page, photograph)
    tops = [page.locator(name).bounding_box()["y"] for name in ("#drop", "#stage", "#bar", "#cards", "#panel")]
    assert tops == sorted(tops)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.locator("summary", has_text="Download").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    assert box["y"] == 0  # it stays in view
    assert page.evaluate("getComputedStyle(document.getElementById('make')).transitionDuration") == "0s"

    for text, ground in (
        ("text", "back"),
        ("text", "surface"),
        ("soft", "back"),
        ("soft", "surface"),
        ("on-accent", "accent"),
        ("warn", "warn-back"),
    ):
        assert contrast(page, text, ground) >= 4.5, (text, ground)
    for shape, ground in (("edge", "surface"), ("accent", "surface"), ("accent", "back")):
        assert contrast(page, shape, ground) >= 3, (shape, ground)
    page.context.close()


def contrast(page, first: str, second: str) -> float:
    """WCAG's contrast of two of the page's colours."""
    lights = []
    for name in (first, second):
        colour = page.evaluate(
            """(name) => { const e = document.createElement('i'); document.body.append(e);
                e.style.color = `var(--${name})`;
                const colour = getComputedStyle(e).color; e.remove(); return colour }""",
            name,
        )
        levels = np.array([int(level) for level in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(lights) / min(lights)
