"""Why somebody is not let in, or not to this: what happened and who does what next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from workbench.clock import SHANGHAI
from workbench.errors import Denied, SignInRequired


def access_ended(until_ms: int) -> SignInRequired:
    """Why an account that had an end no longer signs in, and who can give it another one."""
    ended = f"{datetime.fromtimestamp(until_ms / 1000, SHANGHAI):%Y-%m-%d %H:%M}"
    return SignInRequired(
        f"查阅期限已于 {ended} 截止，已登录的也已失效。需要继续时由本机构管理员延长期限（people.extend）",
        f"Access ended at {ended}, and so did every sign-in. An administrator of this institution can extend it (people.extend)",
        code="ACCESS_ENDED",
    )


def slowed(wait_ms: int) -> SignInRequired:
    """Why an attempt was not even verified, and when the next one will be."""
    wait_s = -(-wait_ms // 1000)
    return SignInRequired(
        f"连续出错，请 {wait_s} 秒后再试（只影响此处的登录，账号没有锁定）",
        f"Too many failures; try again in {wait_s} s (only attempts from here wait, the account is not locked)",
        code="SIGN_IN_SLOWED",
        details={"wait_s": str(wait_s)},
    )


def wrong_audience(zh: str, en: str) -> Denied:
    """A ticket that was issued for something else (decision 17)."""
    return Denied(
        f"这张票据不能{zh}，它是为别处签发的",
        f"This ticket may not {en}; it was issued for something else",
        code="WRONG_AUDIENCE",
    )


def change_password_first() -> Denied:
    """Somebody came in with a one-time password: nothing else works before it is changed."""
    return Denied(
        "一次性密码只能用来更换密码：请先在节点页面或用 workbench password 设置本人的密码",
        "A one-time password only opens its own change: set a password on the node's page or with workbench password",
        code="CHANGE_PASSWORD_FIRST",
    )


def session_ended() -> SignInRequired:
    """No ticket, an unknown one, or one whose time is over."""
    return SignInRequired("登录已过期，请重新登录", "The session has ended; sign in again")


OBSTACLES: dict[str, Callable[[], SignInRequired]] = {
    "ACCOUNT_WAITS": lambda: SignInRequired(
        "账号在等另一位管理员确认，之后才能登录",
        "The account waits for another administrator to confirm it",
        code="ACCOUNT_WAITS",
    ),
    "FIRST_PASSWORD_EXPIRED": lambda: SignInRequired(
        "一次性密码已过期，请运维用 workbench first-password 重新签发",
        "The one-time password has expired; operations issue another one with workbench first-password",
        code="FIRST_PASSWORD_EXPIRED",
    ),
}
"""What keeps a right password from signing in, by its code."""
