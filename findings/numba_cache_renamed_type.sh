#!/usr/bin/env bash
# numba: a function with cache=True whose argument is a NamedTuple cannot be called any more once that class was renamed.
#
# A changed source file should only mean that the function is compiled anew, and with any other change it does. But the index of
# the cache is unpickled as a whole, types of arguments included, before its stamp is compared with that of the source file
# (numba/core/caching.py, _load_index), so the class of the old source is looked for in the new one. Way out: delete __pycache__.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cd "$work"

cat > point.txt <<'PYTHON'
from typing import NamedTuple
from numba import njit

class Point(NamedTuple):
    x: float

@njit(cache=True)
def double(point):
    return 2 * point.x

try:
    print(double(Point(1.5)), sum(double.stats.cache_misses.values()), "compiled")
except AttributeError as error:
    print("AttributeError:", str(error).split(" from ")[0])
PYTHON
run() { venv/bin/python -c "import kernel"; }
{
    cp point.txt kernel.py && run
    { echo "# a comment"; cat point.txt; } > kernel.py && run
    { echo "# a new name"; sed 's/Point/Place/' point.txt; } > kernel.py && run
} > seen.txt
cat > expected.txt <<'TEXT'
3.0 1 compiled
3.0 1 compiled
AttributeError: Can't get attribute 'Point' on <module 'kernel'
TEXT
venv/bin/python -c "import numba; print('numba', numba.__version__)"
cat seen.txt
diff expected.txt seen.txt && echo "as expected: the third source is not compiled anew"
