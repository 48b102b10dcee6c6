"""Actions on the pages of the Prefect UI."""

import os
import shutil
from contextlib import suppress
from typing import Any

from tests.support.launched import Launched

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PRESSES = 4
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def fill_form_with(site: Launched, deployment: str, config: dict[str, Any]) -> None:
    """Set the initial values of a deployment's form."""
    site.ask("PATCH", f"/deployments/{site.deployment(deployment)['id']}", {"parameters": {"config": config}})


def open_form(page: Any, site: Launched, deployment: str) -> None:
    """Open the form that starts a run and wait until it is complete: an earlier click may have no effect."""
    page.goto(f"{site.url}/deployments/deployment/{site.deployment(deployment)['id']}/run")
    page.get_by_role("button", name="Submit").wait_for()
    page.locator(".schema-form-property").first.wait_for()


def submit(page: Any) -> None:
    """Press Submit until the page changes: while the server is too busy to answer, a press has no effect."""
    from playwright.sync_api import TimeoutError  # here, since tests without a browser need no Playwright

    form = page.url
    for _ in range(PRESSES):
        page.get_by_role("button", name="Submit").click()
        with suppress(TimeoutError):
            page.wait_for_url(lambda url: url != form)
            return
    raise AssertionError(f"The form was not sent. Its page: {page.locator('body').inner_text()}")


def box(page: Any, title: str) -> Any:
    """Return a field of the form by its title."""
    label = f".schema-form-property__label:text-is('{title} (Optional)')"
    return page.locator(f".schema-form-property:has(> .p-label__header {label})")


def open_artifact(page: Any, run: str, key: str) -> None:
    """Open the run's page and then one of its artifacts."""
    page.goto(run)
    page.locator("#artifacts").click()
    page.get_by_text(key, exact=True).click()
