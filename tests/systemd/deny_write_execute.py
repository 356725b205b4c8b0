"""Starts a program that may have no memory it can both write and execute, as MemoryDenyWriteExecute= has it.

python tests/systemd/deny_write_execute.py PROGRAM ARGUMENT...
"""

import ctypes
import os
import sys

PR_SET_MDWE = 65  # prctl(2), Linux 6.3; older ones do not know it, and the program is as free as before
REFUSE_EXEC_GAIN = 1

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
