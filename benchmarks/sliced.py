"""`cloudchat`, with sweeps cut into slices of another size: python -m benchmarks.sliced SIZE serve …"""

import sys

from cloudchat_cli import main
from cloudchat_transports import fanout

fanout.SLICE = int(sys.argv.pop(1))
main()
