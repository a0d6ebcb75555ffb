"""A way from inside a network namespace to a server on the machine's own loopback."""

import contextlib
import socket
import threading


class Relay:
    """Listens on 127.0.0.1:`port` inside the namespace and joins each connection to `target` outside."""

    def __init__(self, namespace, target):
        self.target = target
        namespace.set_up("lo")
        self.listener = namespace.run(self._listen, target[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def _listen(port):
        return socket.create_server(("127.0.0.1", port))

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            threading.Thread(target=self._join, args=(near, far), daemon=True).start()

    def _join(self, near, far):
        with near, far:
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            self._copy(near, far)
            back.join()

    @staticmethod
    def _copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
