#!/bin/sh
# Installs what the browser tests need of Debian, if it is missing: Chromium, nginx, and a font for Chinese.
# It ends with 3 if that is not possible here, and says why.
set -eu
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "There is no Chromium. Install it first; as root on Debian, this would do so." >&2
  exit 3
fi
apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium nginx-light fonts-noto-cjk >/dev/null || {
  echo "Chromium could not be installed by apt-get." >&2
  exit 3
}
