#!/bin/sh
# Installs what the browser tests need of Debian, if it is missing: Chromium with fonts, and nginx.
# Without Chromium in the end it exits with 3 and says why.
set -eu

has_chromium() { command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; }
has_nginx() { PATH=$PATH:/usr/sbin command -v nginx >/dev/null 2>&1; }

missing=""
has_chromium || missing="chromium fonts-inter fonts-noto-cjk"
has_nginx || missing="$missing nginx-light"
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  apt-get update -qq || true
  # shellcheck disable=SC2086 - several packages
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $missing >/dev/null || true
fi
has_chromium || {
  echo "There is no Chromium here. Install it; as root on Debian, this script does so." >&2
  exit 3
}
