"""The pages, in the order of the navigation. A new page is a module here, its templates and a line in this table."""

from ansambl.console.page import Page
from ansambl.console.pages import chat, keys, knowledge, logs, models, overview, plan, roles, traffic

PAGES: tuple[Page, ...] = (
    overview.PAGE, chat.PAGE, roles.PAGE, knowledge.PAGE, plan.PAGE, models.PAGE, traffic.PAGE, logs.PAGE, keys.PAGE,
)  # fmt: skip
