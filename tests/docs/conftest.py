"""Pages are not in the wheel, so nothing here is collected when the wheel is tested."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("spacenet_cube.docs") else ["*"]
