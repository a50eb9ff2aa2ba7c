"""The page in a real browser: headless Chromium with a fake camera, the real service behind it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetseg.data.scenes import render_scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
    pytest.mark.timeout(180),
]

Browser = Any
#: Looks at the overlay: how many of its pixels are opaque, clear, or in between.
PAINTED = """const c = document.getElementById('overlay');
const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
let n = {opaque: 0, clear: 0, faint: 0};
for (let i = 3; i < d.length; i += 4) n[d[i] === 255 ? 'opaque' : d[i] === 0 ? 'clear' : 'faint']++;
return n;"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with both packaged networks, which see tiny images so that they are quick."""
    words = [sys.executable, "-m", "fleetseg", "serve", "--port", "0", "--json", "--no-compile", "--size", "64x48"]
    process = subprocess.Popen([*words, "--max-megapixels", "3"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def started_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "hide-scrollbars",
                 "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.add_experimental_option(
        "prefs",
        {
            "download.default_directory": str(tmp_path_factory.mktemp("downloads")),
            "download.prompt_for_download": False,
        },
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    browser.downloads = Path(options.experimental_options["prefs"]["download.default_directory"])
    yield browser
    browser.quit()


@pytest.fixture
def browser(started_browser: Browser, address: str) -> Iterator[Browser]:
    """The page, its first sample labelled; afterwards the console must be free of errors."""
    window(started_browser, 1280, 900)
    started_browser.get(address)
    labelled(started_browser)
    yield started_browser
    noise = [entry for entry in started_browser.get_log("browser") if entry["level"] == "SEVERE"]
    # A refusal is logged by the browser itself; the page shows it in a sentence.
    assert [entry["message"] for entry in noise if "status of 4" not in entry["message"]] == []


def window(browser: Browser, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def until(browser: Browser, script: str, *arguments: Any, seconds: float = 60) -> Any:
    """What a script returns, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(f"return {script}", *arguments)):
        assert time.monotonic() < end, (
            f"{script} never came true: {browser.execute_script('return document.body.innerText')}"
        )
        time.sleep(0.05)
    return found


def labelled(browser: Browser, name: str = "Sample street 1") -> str:
    """Wait for a picture's classes; returns what a screen reader is told."""
    script = "(l => l.startsWith(arguments[0] + ':') && l)(document.getElementById('frame').getAttribute('aria-label'))"
    return str(until(browser, script, name))


def click(browser: Browser, css: str) -> None:
    browser.find_element("css selector", css).click()


def set_slider(browser: Browser, name: str, value: int) -> None:
    script = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))"
    )
    browser.execute_script(script, name, value)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    path = tmp_path / "my street.png"
    Image.fromarray(render_scene(11, 96, 64)[0]).save(path)
    return path


def test_a_sample_is_there_and_an_upload_is_labelled(browser: Browser, street: Path) -> None:
    assert browser.title == "fleetseg"
    told = labelled(browser)
    assert "%" in told
    browser.find_element("id", "file").send_keys(str(street))
    labelled(browser, street.name)
    size = browser.execute_script("const c = document.getElementById('overlay'); return [c.width, c.height]")
    assert size == [96, 64]
    assert browser.execute_script(PAINTED) == {"opaque": 96 * 64, "clear": 0, "faint": 0}
    shares = [e.text for e in browser.find_elements("css selector", "#legend .share")]
    numbers = [float(text.removesuffix(" %")) for text in shares if text.endswith(" %") and text[0].isdigit()]
    assert sum(numbers) == pytest.approx(100, abs=1)
    assert numbers == sorted(numbers, reverse=True)
    assert browser.find_element("id", "network-ms").text.endswith(" ms")


@pytest.mark.slow
def test_classes_are_toggled_and_pointed_out(browser: Browser) -> None:
    before = browser.execute_script(PAINTED)
    click(browser, "#legend li:first-child label")
    hidden = browser.execute_script(PAINTED)
    assert hidden["clear"] > 0 and before["clear"] == 0
    assert browser.find_element("id", "toggle-all").text == "Show all"
    click(browser, "#toggle-all")
    click(browser, "#toggle-all")
    assert browser.execute_script(PAINTED)["opaque"] == 0
    click(browser, "#toggle-all")
    assert browser.execute_script("return document.querySelectorAll('#legend input:checked').length") == 11
    browser.execute_script("document.querySelector('#legend li').dispatchEvent(new Event('pointerenter'))")
    assert browser.execute_script(PAINTED)["faint"] > 0


@pytest.mark.slow
def test_sliders(browser: Browser) -> None:
    set_slider(browser, "opacity", 20)
    set_slider(browser, "compare", 40)
    style = browser.execute_script("const s = document.getElementById('overlay').style; return [s.opacity, s.clipPath]")
    assert style == ["0.2", "inset(0px 0px 0px 40%)"]
    assert browser.find_element("id", "divider").is_displayed()
    actions(browser).click_and_hold(browser.find_element("id", "divider")).move_by_offset(120, 0).release().perform()
    assert int(browser.find_element("id", "compare").get_property("value")) > 45


def actions(browser: Browser) -> Any:
    from selenium.webdriver.common.action_chains import ActionChains

    return ActionChains(browser)


@pytest.mark.slow
def test_class_and_confidence_by_pointer_and_by_keys(browser: Browser) -> None:
    frame = browser.find_element("id", "frame")
    actions(browser).move_to_element(frame).perform()
    assert browser.find_element("id", "tip").text.endswith("% sure")
    browser.execute_script("document.getElementById('frame').focus()")
    actions(browser).send_keys("\ue014\ue015").perform()  # right, down
    assert browser.execute_script("return document.getElementById('reading').textContent").endswith("% sure")
    actions(browser).send_keys("\ue00c").perform()  # escape
    assert not browser.find_element("id", "tip").is_displayed()


@pytest.mark.slow
def test_everything_is_reached_by_keyboard(browser: Browser) -> None:
    browser.execute_script("document.activeElement.blur()")
    reached = set()
    for _ in range(45):
        actions(browser).send_keys("\ue004").perform()
        reached.add(browser.execute_script("const e = document.activeElement; return e.id || e.type || e.className"))
    assert reached >= {"skip", "model", "engine", "frame", "opacity", "compare", "choose", "camera", "save-mask",
                       "save-overlay", "button", "toggle-all", "checkbox"}  # fmt: skip
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, input, select, img')].filter(e => e.checkVisibility() && "
        "!(e.textContent || e.ariaLabel || e.labels?.length || e.hasAttribute('alt') || e.title)).map(e => e.outerHTML)"
    )
    assert unnamed == []


#: Gives the page files as a drop or a paste would.
TRANSFER = """const data = new DataTransfer();
const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
data.items.add(new File([bytes], arguments[1], {type: arguments[2]}));
const init = {bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data};
for (const kind of arguments[3]) document.body.dispatchEvent(
  kind === 'paste' ? new ClipboardEvent(kind, init) : new DragEvent(kind, init));"""


def give(browser: Browser, content: bytes, name: str, media_type: str, *events: str) -> None:
    import base64

    browser.execute_script(TRANSFER, base64.b64encode(content).decode(), name, media_type, list(events))


@pytest.mark.slow
def test_dropping_and_pasting(browser: Browser, street: Path) -> None:
    give(browser, street.read_bytes(), "dropped.png", "image/png", "dragenter", "dragover", "drop")
    labelled(browser, "dropped.png")
    assert not browser.execute_script("return document.body.classList.contains('dragging')")
    give(browser, street.read_bytes(), "pasted.png", "image/png", "paste")
    labelled(browser, "pasted.png")
    strip = until(
        browser, "(b => b.length > 1 && b)([...document.querySelectorAll('#strip button')].map(e => e.title))"
    )
    assert strip[:2] == ["pasted.png", "dropped.png"]


@pytest.mark.slow
def test_files_that_browsers_cannot_show_are_decoded_by_the_service(browser: Browser, tmp_path: Path) -> None:
    Image.fromarray(render_scene(3, 96, 64)[0]).save(tmp_path / "scan.tif")
    give(browser, (tmp_path / "scan.tif").read_bytes(), "scan.tif", "image/tiff", "drop")
    labelled(browser, "scan.tif")


@pytest.mark.slow
def test_large_pictures_are_made_smaller_for_looking_and_masks_stay_whole(browser: Browser, tmp_path: Path) -> None:
    Image.fromarray(render_scene(3, 96, 64)[0]).resize((2000, 1000)).save(tmp_path / "large.png")
    browser.find_element("id", "file").send_keys(str(tmp_path / "large.png"))
    labelled(browser, "large.png")
    assert browser.execute_script("return document.getElementById('overlay').width") == 1600
    assert saved(browser, "save-mask", "large_mask.png").shape == (1000, 2000)
    assert saved(browser, "save-overlay", "large_overlay.png").shape[:2] == (800, 1600)


def saved(browser: Browser, button: str, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    browser.find_element("id", button).click()
    path, end = browser.downloads / name, time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, list(browser.downloads.iterdir())
        time.sleep(0.05)
    return np.array(Image.open(path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"no picture", "broken.png", "broken.png: is broken or no PNG, JPEG"),
        (b"text", "notes.txt", "notes.txt is no picture."),
    ],
)
def test_errors_are_sentences(browser: Browser, content: bytes, name: str, sentence: str) -> None:
    give(browser, content, name, "text/plain" if name.endswith("txt") else "image/png", "drop")
    assert until(
        browser, "!document.getElementById('alert').hidden && document.getElementById('alert-text').textContent"
    ).startswith(sentence)
    click(browser, "#alert-close")
    assert not browser.find_element("id", "alert").is_displayed()


@pytest.mark.slow
def test_models_and_engines_are_chosen(browser: Browser) -> None:
    before = labelled(browser)
    browser.execute_script(
        "const m = document.getElementById('model'); m.value = 'espnet-camvid'; m.dispatchEvent(new Event('change'))"
    )
    until(browser, "document.getElementById('frame').getAttribute('aria-label') !== arguments[0]", before)
    labelled(browser)
    assert [e.get_property("value") for e in browser.find_elements("css selector", "#engine option")] == [
        "auto",
        "onnxruntime",
    ]


@pytest.mark.slow
def test_the_camera_is_labelled_live(browser: Browser) -> None:
    click(browser, "#camera")
    labelled(browser, "Camera")
    rate = until(
        browser,
        "parseFloat(document.getElementById('fps').textContent) > 0 && document.getElementById('fps').textContent",
    )
    assert float(rate) > 0
    actions(browser).move_to_element(browser.find_element("id", "frame")).perform()
    until(browser, "document.getElementById('tip').textContent.endsWith('% sure')")
    assert browser.find_element("id", "live-badge").is_displayed()
    click(browser, "#camera")
    until(browser, "document.getElementById('camera').textContent === 'Start camera'")
    assert not browser.find_element("id", "live-badge").is_displayed()
    assert browser.find_element("id", "save-mask").is_enabled()


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_window_is_too_small(browser: Browser, width: int, scheme: str) -> None:
    window(browser, width, 800)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    small = browser.execute_script(
        "return [...document.querySelectorAll('button, select, #legend label')].filter(e => e.checkVisibility() && "
        "e.getBoundingClientRect().height < 30).map(e => e.outerHTML)"
    )
    assert small == []
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(paper.removeprefix("rgb(").split(",")[0]) < 80) == (scheme == "dark")


@pytest.mark.slow
def test_the_description_of_the_interface(browser: Browser, address: str) -> None:
    browser.get(f"{address}/docs")
    until(browser, "document.body.innerText.includes('/v1/segment')")
    assert "confidence" in browser.find_element("tag name", "body").text


@pytest.mark.slow
def test_a_key_is_asked_for_and_kept(started_browser: Browser) -> None:
    words = [sys.executable, "-m", "fleetseg", "serve", "enet-camvid", "--port", "0", "--json", "--no-compile"]
    environment = {**os.environ, "FLEETSEG_API_KEY": "secret"}
    process = subprocess.Popen([*words, "--size", "64x48"], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        window(started_browser, 1280, 900)
        started_browser.get(json.loads(process.stdout.readline())["url"])
        for key in ("wrong", "secret"):
            until(started_browser, "document.getElementById('key-dialog').open")
            if key == "secret":
                until(started_browser, "!document.getElementById('key-wrong').hidden")
            started_browser.find_element("id", "key").send_keys(key + "\ue007")
        labelled(started_browser)
        click(started_browser, "#camera")
        labelled(started_browser, "Camera")
    finally:
        process.terminate()
        process.communicate(timeout=60)
        started_browser.get_log("browser")
