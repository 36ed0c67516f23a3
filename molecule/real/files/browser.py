# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person does with a browser on Immich's pages, and sees there. Elements are found by the name that a screen reader has for them; pages
of 2.5 and 3.1 have the same ones. Debian's chromium and its driver, without a screen."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import time
import typing as t

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 90.0
# The window is tall: photos further down a page are not drawn.
OPTIONS = """--headless=new --window-size=1280,1400 --no-first-run --disable-background-networking --disable-component-update --disable-sync
--disable-quic --disable-gpu --disable-dev-shm-usage --lang=en-US""".split()
CONTROLS = ("button", "a", "input", "textarea", "[role=button]", "[role=menuitem]")
# Photos whose thumbnails are drawn, by their ids: an image that could not be read has no width.
DRAWN = """
return [...document.images].filter(image => image.complete && image.naturalWidth > 1 && image.checkVisibility())
    .map(image => image.src.match(/[/]api[/]assets[/]([0-9a-f-]{36})[/]thumbnail/)).filter(match => match).map(match => match[1])
"""


class Wrong(Exception):
    """Something that a person waits for does not come."""


class Page:
    """A browser with a profile of its own: it knows nothing of any other."""

    def __init__(self, driver: webdriver.Chrome, site: str, pictures: pathlib.Path) -> None:
        self.driver, self.site, self.pictures = driver, site, pictures

    def picture(self, name: str) -> None:
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))

    def wait(self, what: str, find: t.Callable[[], t.Any]) -> t.Any:
        """What is found, once it is. A page may be drawn anew at any moment, and then an element is gone while it is looked at."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(StaleElementReferenceException):
                found = find()
                if found:
                    return found
            time.sleep(0.2)
        raise Wrong(what)

    def claim(self, what: str, find: t.Callable[[], t.Any], picture: str = "") -> t.Any:
        found = self.wait(what, find)
        print(f"ok     {what}", flush=True)
        if picture:
            self.picture(picture)
        return found

    def all(self, selector: str) -> list[WebElement]:
        return [element for element in self.driver.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]

    def first(self, what: str, selector: str) -> WebElement:
        found: list[WebElement] = self.wait(what, lambda: self.all(selector))
        return found[0]

    def named(self, name: str, within: str = "") -> WebElement:
        selector = ", ".join(f"{within} {control}" for control in CONTROLS)
        found: list[WebElement] = self.wait(f"there is {name!r}", lambda: [element for element in self.all(selector) if element.accessible_name == name])
        return found[0]

    def press(self, element: WebElement) -> None:
        """With the mouse: whatever lies on top gets it, as from a hand."""
        ActionChains(self.driver).move_to_element(element).click().perform()

    @property
    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.site)

    def thumbnails(self) -> set[str]:
        return set(self.driver.execute_script(DRAWN))

    def sees(self, what: str, photos: set[str], picture: str = "") -> None:
        """A page that came before a thumbnail was made keeps saying so, until it is loaded again."""

        def drawn() -> bool:
            if self.thumbnails() == photos:
                return True
            if "Error loading image" in self.text:
                time.sleep(3)
                self.driver.refresh()
            return False

        self.claim(what, drawn, picture)

    # ---- what people do

    def sign_in(self, email: str, password: str) -> None:
        self.driver.get(self.site)
        self.first("the page asks for the address", "input[type=email]").send_keys(email)
        self.first("the page asks for the password", "input[type=password]").send_keys(password)
        self.picture("sign-in")
        self.press(self.named("Login"))
        self.wait("the sign-in page lets go", lambda: not self.path.startswith("/auth/login"))
        self.end_tour()
        self.claim("signs in and comes to the photos", lambda: self.path.startswith("/photos"), "photos")

    def end_tour(self) -> None:
        """Newcomers are led through a few pages; what goes on is the last button."""
        while (before := self.path).startswith("/auth/onboarding"):
            self.press(self.wait("the tour goes on", lambda: self.all("button"))[-1])
            self.wait("the tour has another page", lambda before=before: self.path != before)

    def drop(self, photo: pathlib.Path) -> str:
        """As from a file manager: the browser is told of a file that is dragged over its window and let go. The new photo's id."""
        before = self.thumbnails()
        data = {"items": [], "files": [str(photo)], "dragOperationsMask": 1}
        for moment in ("dragEnter", "dragOver", "drop"):
            if moment == "drop":
                self.claim("the page asks to drop it", lambda: "Drop files anywhere" in self.text, "drop")
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": moment, "x": 640, "y": 500, "data": data})
        (new,) = self.claim("drops a photo and sees its thumbnail", lambda: self.thumbnails() - before, "thumbnail")
        return str(new)

    def make_album(self, title: str, photo: str) -> None:
        self.driver.get(self.site + "/albums")
        self.press(self.named("Create album"))
        field = self.named("Edit Title")
        field.send_keys(title)
        field.send_keys(Keys.TAB)
        self.press(self.named("Select photos"))
        self.press(self.first("the photo can be selected", f"[data-asset='{photo}'] img"))
        self.press(self.named("Add assets"))
        self.named("Share")
        self.claim("makes an album and sees the photo in it", lambda: self.thumbnails() == {photo}, "album")

    def share(self) -> str:
        """The open album, by a link."""
        self.press(self.named("Share"))
        self.press(self.named("Create link", "[role=dialog]"))
        self.press(self.first("the link can be made", "[role=dialog] button[type=submit]"))
        (link,) = self.claim("shares it and is given a link", self.links, "link")
        return str(link)

    def links(self) -> list[str]:
        values = [field.get_attribute("value") or "" for field in self.all("[role=dialog] input")]
        return [value for value in values if value.startswith(self.site + "/share/")]

    def visit(self, link: str, title: str, photo: str) -> None:
        """As somebody who was sent the link and has no account."""
        self.driver.get(link)
        self.claim(f"{title}: the link shows the photo without an account", lambda: self.thumbnails() == {photo}, f"link-{title}")
        self.claim(f"{title}: and the album's name", lambda: title in self.text)
        self.driver.get(self.site + "/photos")
        self.claim("and the photos of the house it does not", lambda: self.path.startswith("/auth/login") and not self.thumbnails())


@contextlib.contextmanager
def browser(site: str, pictures: pathlib.Path) -> t.Iterator[Page]:
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for option in (*OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        page = Page(webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")), site, pictures)
        try:
            yield page
        except (Wrong, WebDriverException) as error:
            page.picture("wrong")
            raise SystemExit(f"WRONG  {error}\n{page.driver.current_url} says:\n{page.text}") from None
        finally:
            page.driver.quit()
