"""A real WordPress on a real MariaDB, from Debian's packages, unpacked without installing them."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from everpost.children import Child
from everpost.testing import eventually

PROOF = "usr/share/wordpress/wp-load.php"
EXTENSIONS = ("mysqlnd", "mysqli", "ctype", "tokenizer", "fileinfo", "exif", "iconv", "posix")
USER = "editor"

CONFIG = """<?php
define('DB_NAME', 'wordpress');
define('DB_USER', 'root');
define('DB_PASSWORD', '');
define('DB_HOST', 'localhost:{socket}');
define('DB_CHARSET', 'utf8mb4');
define('WP_ENVIRONMENT_TYPE', 'local'); // permits application passwords without TLS
define('WP_HOME', 'http://' . ($_SERVER['HTTP_HOST'] ?? '127.0.0.1'));
define('WP_SITEURL', WP_HOME);
define('DISABLE_WP_CRON', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
$table_prefix = 'wp_';
defined('ABSPATH') || define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
"""
INSTALL = """<?php
function wp_mail() { return true; }
define('WP_INSTALLING', true);
$_SERVER['HTTP_HOST'] = '127.0.0.1';
$link = new mysqli(null, 'root', '', null, 0, $argv[2]);
$link->query('CREATE DATABASE wordpress');
require $argv[1] . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';
wp_install('Tests', 'editor', 'editor@example.org', true, '', 'wp-password-1');
$user = get_user_by('login', 'editor');
[$password] = WP_Application_Passwords::create_new_application_password($user->ID, ['name' => 'everpost']);
echo $password;
"""


class WordPress:
    """One site with one user.

    Args:
        packages: Where the packages are unpacked.
        data: A folder for this site.

    Attributes:
        password: An application password of `USER`.
    """

    def __init__(self, packages: Path, data: Path) -> None:
        self._packages = packages
        self._data = data
        self._children: list[Child] = []
        self.password = ""
        self.port = 0

    @property
    def url(self) -> str:
        """The site's address."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["WordPress"]:
        """Install the site and serve it."""
        try:
            await asyncio.to_thread(self._prepare)
            self._begin_database()
            await eventually(self._has_database, what="the start of MariaDB")
            self.password = await asyncio.to_thread(self._install)
            self._begin_server()
            await eventually(self._answers, what="the start of WordPress")
            yield self
        finally:
            for child in reversed(self._children):
                await child.stop(grace_s=10)

    def _prepare(self) -> None:
        if not (self._packages / PROOF).exists():
            raise FileNotFoundError(f"{self._packages} has no WordPress: `make peers` fetches it")
        (self._data / "mysql").mkdir(parents=True)
        site = self._data / "site"
        shutil.copytree(self._packages / "usr/share/wordpress", site, ignore_dangling_symlinks=True)
        (site / "wp-config.php").write_text(CONFIG.replace("{socket}", str(self._socket)))
        (self._data / "install.php").write_text(INSTALL)
        modules = self._packages / "usr/lib/php/20240924"
        lines = [f"extension_dir={modules}", *(f"extension={name}" for name in EXTENSIONS)]
        lines += ["zend_extension=opcache", "upload_max_filesize=64M", "post_max_size=64M", "display_errors=0"]
        (self._data / "php.ini").write_text("\n".join(lines))

    @property
    def _socket(self) -> Path:
        return self._data / "db.sock"

    @property
    def _environment(self) -> Mapping[str, str]:
        return {"LD_LIBRARY_PATH": str(self._packages / "usr/lib/x86_64-linux-gnu"), "PHP_CLI_SERVER_WORKERS": "4"}

    @property
    def _php(self) -> tuple[str, ...]:
        return (str(self._packages / "usr/bin/php8.4"), "-c", str(self._data / "php.ini"))

    def _begin_database(self) -> None:
        """It is reached by a socket in the site's folder only, so it needs no users."""
        messages = self._packages / "usr/share/mariadb"
        self._begin(
            str(self._packages / "usr/sbin/mariadbd"),
            "--no-defaults",
            f"--basedir={self._packages / 'usr'}",
            f"--datadir={self._data / 'mysql'}",
            f"--lc-messages-dir={messages}",
            f"--character-sets-dir={messages / 'charsets'}",
            "--skip-grant-tables",
            "--skip-networking",
            f"--socket={self._socket}",
            f"--pid-file={self._data / 'mysql.pid'}",
            "--innodb-flush-log-at-trx-commit=0",
            "--user=root",
        )

    def _begin_server(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self._begin(*self._php, "-S", f"127.0.0.1:{self.port}", "-t", str(self._data / "site"))

    def _begin(self, *argv: str) -> None:
        with (self._data / "log").open("ab") as output:
            self._children.append(Child(argv, env=self._environment, output=output))

    async def _has_database(self) -> bool:
        return await asyncio.to_thread(self._socket.exists)

    def _install(self) -> str:
        done = subprocess.run(
            [*self._php, str(self._data / "install.php"), str(self._data / "site"), str(self._socket)],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip().splitlines()[-1]

    async def _answers(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"{self.url}/?rest_route=/", timeout=20)
            except httpx.TransportError:
                return False
        return answer.status_code == 200
