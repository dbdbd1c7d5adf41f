#!/usr/bin/env bash
# Installs the Debian packages that some tests use, where it may; says what is missing otherwise and never stops a build.
set -u

declare -A program=(
    [chromium]="chromium"
    [golang-go]="go"
    [npm]="npm"
    [openssl]="openssl"
    [softhsm2]="softhsm2-util"
)
missing=()
for package in "${!program[@]}"; do
    command -v "${program[$package]}" >/dev/null 2>&1 || missing+=("$package")
done
[ -d /usr/share/gocode/src/golang.org/x/mod ] || missing+=("golang-golang-x-mod-dev")
compgen -G '/usr/share/fonts/opentype/noto/NotoSansCJK*' >/dev/null || missing+=("fonts-noto-cjk")

# What not every distribution packages: asked for only where apt knows it, so that the others are installed all the same.
optional=()
command -v runsc >/dev/null 2>&1 || optional+=("runsc")

[ $((${#missing[@]} + ${#optional[@]})) -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update >&2
    for package in "${optional[@]}"; do
        apt-cache show "$package" >/dev/null 2>&1 && apt-get -q -y --no-install-recommends install "$package" >&2 && continue
        echo "system: not to be had here: $package; tests that need it are skipped by name" >&2
    done
    [ ${#missing[@]} -eq 0 ] && exit 0
    if apt-get -q -y --no-install-recommends install "${missing[@]}" >&2; then
        exit 0
    fi
    echo "system: apt-get could not install: ${missing[*]}" >&2
else
    echo "system: missing and not installable by this account: ${missing[*]} ${optional[*]}" >&2
    [ ${#missing[@]} -eq 0 ] && exit 0
fi
echo "system: tests that need them are skipped by name (and fail with CI=1)" >&2
exit 0
