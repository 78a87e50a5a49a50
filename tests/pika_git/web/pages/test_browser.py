"""The pages in Chromium: for people who see little, use the keyboard, or have a phone."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from forge_screenshots import populate
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import DESKTOP, PHONE, THEMES, browser, log_in, look
from pika_git.persistence import auth
from pika_git.web.auth import COOKIE
from pika_git.web.log_html import to_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.chrome.webdriver import WebDriver

    from forge_scenes import Scene
    from served import Served

AXE = (
    Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
)  # the sources of a job have no .venv
WAIT_SECS = 15.0
ALL = ("/", "/branches/5", "/runs/6", "/runs/5", "/lanes/10", "/lanes/11", "/lanes/12", "/queue")
MORE = (
    "/workers",
    "/health",
    "/nightly",
    "/admin",
    "/login",
    "/runs/999",
    "/lanes/10/log?job=test&kind=host",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[WebDriver]:
    with browser() as driver:
        yield driver


@pytest.fixture
def driver(chromium: WebDriver, scene: Scene, shown: Served) -> WebDriver:
    """A browser of an admin, at a forge with a day's work."""
    scene.now = time.time()
    populate(scene)
    number, _ = shown.token("admin")
    with scene.database.write() as connection:
        secret = auth.log_in(connection, number, scene.now, 3600)
    log_in(chromium, shown.url, COOKIE, secret)
    chromium.get_log("browser")  # type: ignore[no-untyped-call]
    return chromium


def wait_for(found: Callable[[], object], what: str) -> None:
    until = time.monotonic() + WAIT_SECS
    while not found():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def violations(driver: WebDriver) -> list[str]:
    """What axe-core finds wrong with the page that is shown."""
    driver.execute_script(AXE.read_text())
    found: list[dict[str, Any]] = driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({resultTypes: ['violations']}).then(each => done(each.violations))"
    )
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_axe_finds_nothing_wrong_and_nothing_is_cut_off(
    driver: WebDriver, shown: Served, theme: str, width: int
) -> None:
    look(driver, width, theme)
    wrong = []
    for path in (*ALL, *MORE):
        driver.get(shown.url + path)
        driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        wrong += [(path, each) for each in violations(driver)]
        page = driver.execute_script("return document.documentElement.scrollWidth")
        if page > width:
            wrong.append((path, f"is {page} wide"))
    assert not wrong, json.dumps(wrong, indent=1)
    said = driver.get_log("browser")  # type: ignore[no-untyped-call]
    errors = [
        each for each in said if each["level"] == "SEVERE" and "/runs/999" not in each["message"]
    ]
    assert not errors, errors


def test_a_run_is_used_with_the_keyboard_alone(driver: WebDriver, shown: Served) -> None:
    look(driver, DESKTOP, "light")
    driver.get(f"{shown.url}/runs/6")
    body = driver.find_element(By.TAG_NAME, "body")
    seen = []
    body.send_keys(Keys.TAB)
    assert driver.switch_to.active_element.text == "Skip to the content"
    for _ in range(60):
        active = driver.switch_to.active_element
        if active.tag_name == "body":
            break
        outline = active.value_of_css_property("outline-style")
        assert outline != "none", active.get_attribute("outerHTML")
        top = active.rect["y"]
        seen.append((active.text or active.get_attribute("aria-label") or "", top))
        active.send_keys(Keys.TAB)
    names = [name for name, _ in seen]
    order = ["Skip to the content", "pika-git", "Queue", "leading-zero", "Cancel run", "check-unit"]
    places = [names.index(each) for each in order]
    assert places == sorted(places)
    assert "1 lane not selected" in names
    driver.find_element(By.CSS_SELECTOR, ".ask summary").send_keys(Keys.ENTER)
    driver.switch_to.active_element.send_keys(Keys.TAB)
    driver.switch_to.active_element.send_keys("wrong branch", Keys.ENTER)
    wait_for(lambda: "did=cancel" in driver.current_url, "the form was not sent")
    assert "cancelled by ann (wrong branch)" in driver.find_element(By.ID, "main").text


def test_a_log_grows_as_it_is_written_and_ends(
    driver: WebDriver, shown: Served, scene: Scene
) -> None:
    driver.get(f"{shown.url}/runs/6")
    (log,) = [
        path for path in scene.data.root.rglob("host.log") if b"round_trip" in path.read_bytes()
    ]

    def text() -> str:
        return str(driver.find_element(By.CSS_SELECTOR, "[data-stream] .scroll").text)

    with log.open("ab", buffering=0) as file:
        for number in range(20):
            file.write(f"\x1b[32mline {number}\x1b[0m \u00e9 <b>\n".encode())
        wait_for(lambda: "line 19 \u00e9 <b>" in text(), "the log did not grow")
        assert [f"line {number} " in text() for number in range(20)] == [True] * 20
        assert text().count("line 7 ") == 1
    styled = driver.find_elements(By.CSS_SELECTOR, "[data-stream] pre .f2")
    assert len(styled) >= 20


def test_a_log_that_is_followed_for_long_keeps_its_end_and_a_gap(
    driver: WebDriver, shown: Served, scene: Scene
) -> None:
    driver.get(f"{shown.url}/runs/6")
    (log,) = [
        path for path in scene.data.root.rglob("host.log") if b"round_trip" in path.read_bytes()
    ]
    size = "return document.querySelector('[data-stream] .scroll pre:last-of-type').textContent"
    with log.open("ab", buffering=0) as file:
        for number in range(30):
            file.write(f"line {number}\n".encode() + b"\xc3\xa9".ljust(99, b"x") * 500 + b"\n")
            file.write(b"y" * 99 + b"\n")
            for _ in range(8):
                file.write((b"z" * 99 + b"\n") * 50)
        file.write(b"the end\nhalf")
        wait_for(
            lambda: driver.execute_script(f"{size}.endsWith('the end\\nhalf')"), "it did not grow"
        )
    assert 500_000 < driver.execute_script(f"{size}.length") < 1_100_000
    (link,) = driver.find_elements(By.CSS_SELECTOR, "[data-stream] .gap a[data-fill]")
    first = driver.execute_script(f"{size}.split('\\n', 1)[0]")
    begin, end = (int(link.get_attribute(f"data-{name}") or "") for name in ("from", "to"))
    data = log.read_bytes()
    assert data[end - 1 : end] == b"\n"
    assert data[end:].startswith(first.encode() + b"\n")
    assert begin < end
    driver.execute_script("arguments[0].click()", link)
    wait_for(
        lambda: len(driver.find_elements(By.CSS_SELECTOR, "[data-stream] .scroll pre")) == 2,
        "the gap does not fill",
    )


def test_a_gap_is_not_filled_with_the_page_that_asks_to_log_in(
    driver: WebDriver, shown: Served
) -> None:
    driver.get(f"{shown.url}/runs/6")
    driver.execute_script(
        "document.querySelector('main').insertAdjacentHTML('beforeend',"
        " '<p class=gap><a href=#there data-fill=/login?x=1 data-from=0 data-to=9>more</a></p>');"
        "window.fetch = async () => Object.defineProperty(new Response('<b id=bad>'),"
        " 'redirected', {value: true});"
        "document.querySelector('[data-fill=\"/login?x=1\"]').click()"
    )
    wait_for(lambda: driver.current_url.endswith("#there"), "the link is not followed")
    assert not driver.find_elements(By.ID, "bad")


def test_a_hidden_page_lets_go_of_its_stream_and_goes_on_where_it_was(
    driver: WebDriver, shown: Served, scene: Scene
) -> None:
    driver.get(f"{shown.url}/runs/6")
    (log,) = [
        path for path in scene.data.root.rglob("host.log") if b"round_trip" in path.read_bytes()
    ]
    hide = (
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    pre = "[data-stream] .scroll"
    with log.open("ab", buffering=0) as file:
        file.write(b"first\n")
        wait_for(
            lambda: "first" in driver.find_element(By.CSS_SELECTOR, pre).text, "it did not grow"
        )
        driver.execute_script(hide, True)  # noqa: FBT003 - a value of the page's
        file.write(b"second\n")
        time.sleep(0.5)
        assert "second" not in driver.find_element(By.CSS_SELECTOR, pre).text
        driver.execute_script(hide, False)  # noqa: FBT003 - likewise
        wait_for(
            lambda: "second" in driver.find_element(By.CSS_SELECTOR, pre).text, "it stays closed"
        )
    found = driver.find_element(By.CSS_SELECTOR, pre).text
    assert (found.count("first"), found.count("second")) == (1, 1)


LOGS = (
    "plain <b> & \u00e9\n",
    "\x1b[31mred\nstill\x1b[0m no\n",
    "10%\r20%\x1b[K\nab\bc\n",
    "abc\x1b[2K\b\x1b[2Kx\x1b[2Ky\n",
    "\x1b[38;5;200mX\x1b[48;2;1;2;3mY\x1b[7mZ\x1b[m\n",
    "\x1b[1;3;4;9mall\x1b[22mless\n",
    "see https://e.org/a?b=1&c=2). \x00\x7f \u202e\n",
    "\x1b]8;;https://e.org\x07link\x1b]8;;\x07 \x1b(B\n",
    "half a line",
)


def test_the_script_shows_logs_as_the_server_does(driver: WebDriver, shown: Served) -> None:
    driver.get(f"{shown.url}/login")
    whole = "".join(LOGS)
    found = driver.execute_script(
        "const pre = document.createElement('pre'); const log = new pikaLog(pre);"
        "for (let i = 0; i < arguments[0].length; i += 3) log.feed(arguments[0].slice(i, i + 3));"
        "pre.querySelectorAll('span:not([class])')"
        ".forEach(each => each.replaceWith(...each.childNodes));"
        "return pre.innerHTML",
        whole,
    )
    normal = driver.execute_script(
        "const pre = document.createElement('pre'); pre.innerHTML = arguments[0];"
        "return pre.innerHTML",
        to_html(whole.encode()),
    )
    assert found == normal


def test_pages_work_without_javascript(driver: WebDriver, shown: Served) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(f"{shown.url}/runs/6")
        assert "1 of 34 tests failed: number::tests::leading_zero" in driver.page_source
        driver.find_element(By.CSS_SELECTOR, ".ask summary").click()
        driver.find_element(By.CSS_SELECTOR, ".ask input[name=why]").send_keys(
            "no script", Keys.ENTER
        )
        wait_for(lambda: "did=cancel" in driver.current_url, "the form was not sent")
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
