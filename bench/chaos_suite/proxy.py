"""A loopback TCP proxy with faults: one `Link` for each way from a service to a broker.

All links live on one asyncio loop in a thread; their methods may be called from any thread.
"""

import asyncio
import socket
import struct
import threading
import time

CHUNK = 64 * 1024
LINGER_RESET = struct.pack("ii", 1, 0)  # closing sends RST


class Link:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`."""

    def __init__(self, network, target):
        self.network, self.target, self.port = network, target, None
        self.refusing = False
        self.delay_s = 0.0
        self.bytes_per_s = {"up": None, "down": None}  # up: towards the broker
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.writers = set()

    # -- what can be done to it ------------------------------------------------------

    def cut(self):
        """Resets all connections and each new one."""
        self._call(self._set, "refusing", True)
        self._call(self._reset)

    def freeze(self):
        """Connections stay, and new ones are accepted, but no byte goes through (half-open connections)."""
        self._call(self.flowing.clear)

    def delay(self, seconds):
        self._call(self._set, "delay_s", seconds)

    def limit(self, direction, bytes_per_s):
        self._call(self.bytes_per_s.__setitem__, direction, bytes_per_s)

    def heal(self, reset=False):
        """Ends all faults. With `reset`, frozen connections are reset, as behind a NAT that lost its state."""
        self._call(self._heal, reset)

    # -- on the loop -----------------------------------------------------------------

    def _call(self, function, *arguments):
        self.network.loop.call_soon_threadsafe(function, *arguments)

    def _set(self, name, value):
        setattr(self, name, value)

    def _heal(self, reset):
        self.refusing, self.delay_s = False, 0.0
        self.bytes_per_s = {"up": None, "down": None}
        if reset:
            self._reset()
        self.flowing.set()

    def _reset(self):
        for writer in list(self.writers):
            _abort(writer)

    async def listen(self, port):
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=64)
        self.port = server.sockets[0].getsockname()[1]
        self.network.servers.append(server)

    async def _connected(self, reader, writer):
        if self.refusing:
            return _abort(writer)
        self.writers.add(writer)
        upstream = None
        try:
            await self.flowing.wait()
            near, upstream = await asyncio.open_connection("127.0.0.1", self.target)
            self.writers.add(upstream)
            await asyncio.gather(self._pump("up", reader, upstream), self._pump("down", near, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for x in (writer, upstream):
                if x is not None:
                    self.writers.discard(x)
                    _abort(x)

    async def _pump(self, direction, reader, writer):
        """Reads ahead by a few chunks, so that a delay does not become a limit of bandwidth."""
        queue = asyncio.Queue(16)
        sender = asyncio.create_task(self._send(direction, queue, writer))
        try:
            while data := await reader.read(CHUNK):
                await queue.put((time.monotonic() + self.delay_s, data))
                if sender.done():
                    break
            await queue.put((0, b""))
            await sender
        finally:
            sender.cancel()

    async def _send(self, direction, queue, writer):
        while True:
            due, data = await queue.get()
            if not data:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self.flowing.wait()
            rate = self.bytes_per_s[direction]
            if rate:
                await asyncio.sleep(len(data) / rate)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _abort(writer):
    raw = writer.get_extra_info("socket")
    if raw is not None:
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        except OSError:
            pass
    writer.transport.abort()


class Network:
    """The thread that all links live on."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.servers = []
        self.worst_delay_s = 0.0  # how late the loop came to run: what goes through it was held up as long
        self.watch = self.loop.create_task(self._watch())
        self.thread = threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True)
        self.thread.start()

    async def _watch(self):
        while True:
            due = time.monotonic() + 0.1
            await asyncio.sleep(0.1)
            self.worst_delay_s = max(self.worst_delay_s, time.monotonic() - due)

    def link(self, target, port=0):
        """A link that listens; its `port` is known."""
        async def make():
            made = Link(self, target)
            await made.listen(port)
            return made
        return asyncio.run_coroutine_threadsafe(make(), self.loop).result(10)

    def close(self):
        def stop():
            for server in self.servers:
                server.close()
            self.watch.cancel()
            # Once more around, so that what was cancelled ends.
            self.loop.call_soon(self.loop.stop)
        self.loop.call_soon_threadsafe(stop)
        self.thread.join(5)
        if not self.thread.is_alive():
            self.loop.close()
