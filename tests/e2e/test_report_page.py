"""The report's page in Chromium: for people who see little, use the keyboard, or print it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import DESKTOP, PHONE, THEMES, browser, look
from e2e.project import Project
from pikaci.report.ansi import line_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.chrome.webdriver import WebDriver

AXE = (
    Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
)  # the sources of a job have no .venv
WAIT_SECS = 15.0
TARGETS = """
  ci = {
    prepare.greeting.drv = build "greeting" "echo building; echo > $out";
    jobs.lint.command = "echo; echo ok";
    jobs.unit = { needs = [ "greeting" ]; command = ''
      printf '<script>alert(1)</script> first\\n'
      seq -f $'\\033[32mtest %.0f\\033[0m passed' 40000; echo the end
      echo x >"$PIKACI_ARTIFACTS/x"; exit 1
    ''; };
    jobs.deploy = { needs = [ "unit" "lint" ]; command = "true"; };
  };
  good.jobs.unit.command = "echo fine";
"""
LINES = (
    *("plain <b> & \u00e9 \"'", "\x1b[31mred\x1b[0m no", "10%\r20%\x1b[K", "abc\r \x1b[K"),
    *("\x1b[38;5;200mX\x1b[48;2;1;2;3mY\x1b[7mZ\x1b[m", "\x1b[1;3;4;9mall\x1b[22mless", "\x1b[8mx"),
    *("a\x00b\x7fc\u202ed", "\x1b]8;;https://e.org\x07link\x1b]8;;\x07 \x1b(B", "\x9b31mx\x1b[2Jy"),
    *(
        "\x1b[38;5;8mgrey\x1b[99999mz\x1b[;mq",
        "\x1b[38;5;240mg\x1b[39md\x1b[104mb\x1b[49mn\x1b[27mi",
    ),
    *("\x1b[7minverse\x1b[31mred", "\x1b]0;never ended", "\x1b[38mnothing\x1b[48;2;9m"),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of a batch."""
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    assert project.here("run", "ci", "good").code == 1
    return f"file://{project.here('report').passed().out.strip()}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[WebDriver]:
    with browser() as driver:
        yield driver


@pytest.fixture
def driver(chromium: WebDriver, page: str) -> Iterator[WebDriver]:
    """A browser at the page, which has nothing to complain of at the end."""
    look(chromium, DESKTOP, "light")
    chromium.get(page)
    yield chromium
    assert chromium.get_log("browser") == []  # type: ignore[no-untyped-call]


def wait_for(found: Callable[[], object], what: str) -> None:
    until = time.monotonic() + WAIT_SECS
    while not found():
        assert time.monotonic() < until, what
        time.sleep(0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_axe_finds_nothing_wrong_and_nothing_is_cut_off(
    driver: WebDriver, page: str, theme: str, width: int
) -> None:
    look(driver, width, theme)
    driver.get(page)
    driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    driver.execute_script(AXE.read_text())
    found: list[dict[str, Any]] = driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({resultTypes: ['violations']}).then(each => done(each.violations))"
    )
    wrong = [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]
    assert not wrong, json.dumps(wrong, indent=1)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def shown(driver: WebDriver, log: str = "r1-log-unit-1") -> list[str]:
    text: str = driver.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} .lines .text`)]"
        ".map(each => each.textContent).join('\\n')",
        log,
    )
    return text.split("\n")


def test_a_log_begins_with_its_first_line(driver: WebDriver) -> None:
    assert shown(driver, "r1-log-lint-1") == ["", "ok"]


def press(driver: WebDriver, name: str) -> None:
    log = driver.find_element(By.ID, "r1-log-unit-1")
    log.find_element(By.XPATH, f".//button[text()='{name}']").send_keys(Keys.ENTER)


def test_a_long_log_is_shown_by_parts_of_which_few_are_there_at_once(driver: WebDriver) -> None:
    lines = [
        "<script>alert(1)</script> first",
        *(f"test {n} passed" for n in range(1, 40_001)),
        "the end",
    ]
    assert shown(driver) == lines[-len(shown(driver)) :]
    assert len(shown(driver)) < 2000
    seen: set[str] = set()
    press(driver, "First lines")
    assert shown(driver)[0] == lines[0]
    for _ in range(60):
        part = shown(driver)
        assert len(part) < 20_000
        seen |= {*part}
        if part[-1] == "the end":
            break
        press(driver, "Lines after")
    assert seen == {*lines}
    press(driver, "First lines")
    press(driver, "Last lines")
    press(driver, "Lines before")
    assert shown(driver) == lines[-len(shown(driver)) :]
    assert driver.find_elements(By.CSS_SELECTOR, "#r1-log-unit-1 .text .f2")


def test_a_line_is_found_with_the_keyboard_alone(driver: WebDriver) -> None:
    driver.find_element(By.TAG_NAME, "body").send_keys("/")
    driver.switch_to.active_element.send_keys("TEST 12345 ", Keys.ENTER)
    wait_for(
        lambda: "ci: log of unit:12347" in driver.switch_to.active_element.text, "it is not found"
    )
    assert "1 line" in driver.find_element(By.CSS_SELECTOR, "output").text
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    mark = driver.find_element(By.TAG_NAME, "mark")
    assert mark.text == "test 12345 passed"
    assert driver.switch_to.active_element.get_attribute("aria-label") == "ci: log of unit"
    box = driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", mark)
    assert 0 < box["top"] < 900
    driver.find_element(By.TAG_NAME, "body").send_keys("/")
    driver.switch_to.active_element.send_keys(Keys.ESCAPE, "fine", Keys.ENTER)
    wait_for(lambda: "good: log of unit:1" in driver.switch_to.active_element.text, "nor that")


def test_the_telling_lines_lead_into_the_log(driver: WebDriver) -> None:
    driver.find_element(By.CSS_SELECTOR, ".telling a[data-line]").send_keys(Keys.ENTER)
    mark = driver.find_element(By.TAG_NAME, "mark")
    number = driver.find_element(By.CSS_SELECTOR, ".telling a[data-line]").text
    assert mark.text == f"test {int(number) - 2} passed"


def test_every_control_is_reached_by_tab_and_seen(driver: WebDriver) -> None:
    body = driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert driver.switch_to.active_element.text == "Skip to the content"
    names = []
    for _ in range(80):
        active = driver.switch_to.active_element
        if active.tag_name == "body":
            break
        assert active.value_of_css_property("outline-style") != "none", active.text
        names.append(active.get_attribute("aria-label") or active.text)
        active.send_keys(Keys.TAB)
    for name in ("ci", "log of unit", "Lines before", "ci: Plan graph", "Command of unit"):
        assert name in names, names


def test_a_page_without_its_script_has_the_ends_of_logs(driver: WebDriver, page: str) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(page)
        found = driver.find_element(By.ID, "main").text
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "the end" in found
    assert "What is before these lines is in this file" in found


def test_it_is_printed_on_paper_white_and_whole(driver: WebDriver) -> None:
    look(driver, DESKTOP, "dark")
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    assert driver.execute_script(style, "body", "backgroundColor") == "rgb(255, 255, 255)"
    assert driver.execute_script(style, ".search", "display") == "none"
    assert driver.execute_script(style, ".telling", "display") != "none"
    assert driver.execute_script(style, "details[open] .scroll", "maxHeight") == "none"
    assert driver.execute_cdp_cmd("Page.printToPDF", {})["data"]


def test_the_script_shows_lines_as_the_page_does(driver: WebDriver) -> None:
    html = "const e = document.createElement('pre'); e.innerHTML = arguments[0]; return e.innerHTML"
    for line in LINES:
        found = driver.execute_script("return pikaciLine(arguments[0])", line)
        assert found == driver.execute_script(html, str(line_html(line))) or found == line_html(
            line
        ), line
