"""`vla-ros dashboard`: a page in the browser that shows a running robot, gives it instructions and stops it."""

from __future__ import annotations

import argparse
import secrets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--robot", default="ur5e_tabletop", help="robot contract: a YAML file, or a name")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; others than loopback get a token")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    parser.add_argument("--token", default="", help="what a browser must give; drawn where --host needs one")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    import sys

    from vla_ros.monitor.dashboard import is_local
    from vla_ros.nodes.dashboard import main

    token = args.token or ("" if is_local(args.host) else secrets.token_urlsafe(16))
    words = {"robot": args.robot, "host": args.host, "port": args.port} | ({"token": token} if token else {})
    sys.argv = ["dashboard", "--ros-args", *(w for k, v in words.items() for w in ("-p", f"{k}:={v}"))]
    main()
    return 0
