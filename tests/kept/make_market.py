"""Makes `market-REVISION.tar.xz`: a backup of a market with a bit of everything in it.

    python tests/kept/make_market.py FILE

Run once per schema, with the code of that schema, and kept: later versions are upgraded from it
(tests/catalog/test_upgrade.py). Its keys belong to nobody.
"""

from __future__ import annotations

import lzma
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from people import USCC, open_hall  # noqa: E402
from stall import delivered, offered  # noqa: E402
from yaosu.backup import backup  # noqa: E402


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        with open_hall(folder) as hall:
            provider = hall.person("provider", "provider", uscc=USCC[0])
            buyer = hall.person("buyer", "buyer")
            paid = delivered(hall, buyer, offered(hall, provider))
            path = f"/v1/trades/{paid['trade_id']}"
            _, manifest = buyer.fetch(paid)
            buyer.post(f"{path}/accept", {"manifest_digest": manifest})
            buyer.post(f"{path}/dispute", {"ground": "样例不符"})
            asked = offered(hall, provider, "asked-zh", mode="negotiated")
            buyer.post("/v1/trades", {"listing_id": asked, "wish": {"purpose": "训练"}})
            head = {"tus-resumable": "1.0.0", "upload-length": "9"}
            provider.raw("POST", "/v1/uploads", headers=head)
            hall.market.integrate()
        backup(folder, Path(scratch) / "market.tar")
        target.write_bytes(lzma.compress((Path(scratch) / "market.tar").read_bytes(), preset=9))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
