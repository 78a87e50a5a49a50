"""Chromium without a screen, on loopback only."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.chrome.webdriver import WebDriver

THEMES = ("light", "dark")
PHONE, DESKTOP = 360, 1280


@contextmanager
def browser() -> Iterator[WebDriver]:
    """A browser with a profile of its own."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert program, "chromium is missing: ci/bootstrap/forge-packages.sh"
    assert driver, "chromedriver is missing: ci/bootstrap/forge-packages.sh"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"),
        *("hide-scrollbars", "no-first-run", "disable-background-networking"),
        *("host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "force-color-profile=srgb"),
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield found
    finally:
        found.quit()


def log_in(driver: WebDriver, url: str, name: str, secret: str) -> None:
    """Give the browser a session's cookie."""
    driver.get(f"{url}/login")
    driver.add_cookie({"name": name, "value": secret, "path": "/", "httpOnly": True})


def look(driver: WebDriver, width: int, theme: str, height: int = 900, scale: int = 1) -> None:
    """Let pages be shown at a width in CSS pixels, in the light or the dark theme."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def whole_page(driver: WebDriver) -> bytes:
    """A picture of all of a page, as PNG."""
    import base64

    options = {"captureBeyondViewport": True, "format": "png"}
    found = driver.execute_cdp_cmd("Page.captureScreenshot", options)
    return base64.b64decode(found["data"])
