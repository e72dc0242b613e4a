"""The console behind a proxy that ends TLS and serves it below a path."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser_kit.scene import Scene
from browser_kit.tls_proxy import proxied
from browser_kit.view import check_page, viewing


@pytest.mark.quick
def test_all_works_below_a_path_behind_tls(browser: Browser, scene: Scene, tmp_path: Path) -> None:
    with proxied(tmp_path, scene.address) as address, viewing(browser, ignore_https_errors=True) as page:
        page.goto(address)
        check_page(page, "proxied")
        page.get_by_role("link", name="Limits").click()
        assert page.url == f"{address}limits"
        page.get_by_role("button", name="中文").click()
        assert page.url == f"{address}limits"
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        page.goto(f"{address}limits/scope?scope=wordpress")
        expect(page.get_by_role("link", name="当前")).to_be_visible()
        page.get_by_label("原因").fill("Behind a proxy.")
        page.get_by_role("button", name="暂停").click()
        expect(page.get_by_role("status").first).to_contain_text("已暂停")
        assert page.url.startswith(f"{address}limits/scope?scope=wordpress")
        page.get_by_role("button", name="恢复").click()
        expect(page.get_by_role("status").first).to_contain_text("可以重新开始")
        cookies = {cookie["name"]: cookie["path"] for cookie in page.context.cookies()}
        assert cookies["everpost_language"] == "/ops/everpost"
