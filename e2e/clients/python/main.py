"""Runs the checks with one of the official Python SDKs: `main.py v1|v2 --url URL …` (see ../run)."""

import argparse
import importlib
import json
import logging
import math
import sys
import warnings
from types import SimpleNamespace

import anyio

import checks
from wire import Answers, Inbox


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("sdk", choices=["v1", "v2"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--transport", choices=["sse", "http"], default="http")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--prefix", default="")
    parser.add_argument("--mode")
    parser.add_argument("--timeout", type=float, default=15.0)
    parser.add_argument("--checks", default=",".join(checks.ALL))
    args = parser.parse_args()
    args.checks = args.checks.split(",")
    if unknown := set(args.checks) - set(checks.ALL):
        parser.error(f"unknown checks: {', '.join(sorted(unknown))}")
    args.header = {name.strip(): value.strip() for name, _, value in (h.partition(":") for h in args.header)}
    return args


def report(check: str, ok: bool, detail: str, **more: bool) -> bool:
    print(json.dumps({"check": check, "ok": ok, **more, "detail": detail}), flush=True)
    return ok


def reason(error: BaseException) -> str:
    """The innermost cause, since task groups wrap the interesting error in exception groups."""
    while nested := getattr(error, "exceptions", None):
        error = nested[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def run_check(name: str, peer: SimpleNamespace, timeout: float) -> bool:
    try:
        with anyio.fail_after(timeout):
            return report(name, True, await checks.ALL[name](peer))
    except checks.Skip as skip:
        return report(name, True, str(skip), skipped=True)
    except TimeoutError:
        return report(name, False, f"nothing after {timeout:g} s; {peer.inbox.last()}")
    except Exception as error:
        return report(name, False, reason(error))


async def run(args: argparse.Namespace) -> bool:
    sdk = importlib.import_module(f"sdk_{args.sdk}")
    inbox, answers = Inbox(), Answers()
    done: dict[str, bool] = {}
    try:
        with anyio.fail_after(args.timeout) as opening:
            async with sdk.connect(args, inbox, answers) as (client, info):
                opening.deadline = math.inf
                peer = SimpleNamespace(
                    client=client,
                    info=info,
                    inbox=inbox,
                    answers=answers,
                    prefix=args.prefix,
                    # What addresses of resources begin with on the aggregate.
                    address=f"{args.prefix.removesuffix('-')}+" if args.prefix else "",
                    transport=args.transport,
                    cancel=sdk.cancel,
                )
                for name in args.checks:
                    done[name] = await run_check(name, peer, args.timeout)
                opening.deadline = anyio.current_time() + args.timeout
    except Exception as error:
        for name in (name for name in args.checks if name not in done):
            done[name] = report(name, False, f"no session: {reason(error)}; {inbox.last()}")
    return all(done.values())


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sys.exit(0 if anyio.run(run, arguments()) else 1)
