"""`vla-ros dashboard`: a page in the browser that shows a running robot, gives it instructions and stops it."""

from __future__ import annotations

import argparse
import os
import secrets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--robot", default="ur5e_tabletop", help="robot contract: a YAML file, or a name")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; any but loopback needs a token")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    parser.add_argument("--token-file", default="", help="file whose first line is the token to log in with")
    parser.add_argument(
        "--token",
        default="",
        help="the token itself, visible to other users of this machine: prefer --token-file or "
        "the environment variable VLA_ROS_DASHBOARD_TOKEN; generated and printed if --host needs one and none is given",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    import sys

    from vla_ros.monitor.dashboard.gate import is_local
    from vla_ros.nodes.dashboard import TOKEN_VARIABLE, main

    known = args.token or args.token_file or os.environ.get(TOKEN_VARIABLE)
    drawn = "" if known or is_local(args.host) else secrets.token_urlsafe(16)
    if args.token or drawn:
        os.environ[TOKEN_VARIABLE] = args.token or drawn
    words = {"robot": args.robot, "host": args.host, "port": args.port}
    if args.token_file:
        words["token_file"] = args.token_file
    sys.argv = ["dashboard", "--ros-args", *(w for k, v in words.items() for w in ("-p", f"{k}:={v}"))]
    main(show_token=bool(drawn))
    return 0
