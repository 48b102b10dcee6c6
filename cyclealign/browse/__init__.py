"""Pages over the history of experiments for a web browser, served by `cyclealign browse`."""

PAGES_VARIABLE = "CYCLEALIGN_PAGES_URL"  # the address of the pages, for links in the reports of runs
