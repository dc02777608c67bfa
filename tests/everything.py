"""Whether all is asked for: `stack/` where its programs must be there, and what is marked `slow`."""

import os

EVERYTHING = os.environ.get("WATCHKEEPER_REQUIRE_STACK") == "1"
