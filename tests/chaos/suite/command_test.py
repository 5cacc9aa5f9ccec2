"""The end of a command of the suite by a signal."""

import os
import signal
import subprocess
import sys
import unittest

from chaos_suite.processes import send

# What a library may do with an exception that a signal handler raises while it runs.
DEAF = """
import subprocess, sys, time
from chaos_suite import command

def deaf(options):
    child = subprocess.Popen(["sleep", "600"])
    print(child.pid, flush=True)
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass

command.execute(command.parser("test", ""), None, deaf, 60)
"""


class Interrupt(unittest.TestCase):
    def test_ends_a_command_and_its_processes_whatever_it_is_at(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            command = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True)
            child = int(command.stdout.readline())
            try:
                command.send_signal(number)
                self.assertEqual(command.wait(30), 128 + number)
                with self.assertRaises(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            finally:
                for pid in (command.pid, child):
                    send(pid, signal.SIGKILL)
                command.communicate()


if __name__ == "__main__":
    unittest.main()
