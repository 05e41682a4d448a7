"""`python -m deploy.dashboards` makes the committed dashboards anew, in the repository or the folder named."""

import sys
from pathlib import Path

from deploy.dashboards.generate import dashboards

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "deploy/grafana")
folder.mkdir(parents=True, exist_ok=True)
for name, content in dashboards().items():
    (folder / name).write_bytes(content)
