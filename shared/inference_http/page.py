"""The page at `/`: one file, nothing fetched from elsewhere, so that it works inside a closed network."""

from pathlib import Path

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
PAGE_HEADERS = {
    # Whatever a model's labels hold, the page can neither load nor send anything beyond this service.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}
