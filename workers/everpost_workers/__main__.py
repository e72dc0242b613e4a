"""`python -m everpost_workers`: one worker, until SIGTERM."""

import sys

from everpost.garbage import freeze_garbage, without_collection

with without_collection():
    import asyncio
    import os

    import uvloop

    import everpost.queue  # noqa: F401 - first, because it imports redis-py lightly
    from everpost.error_reports import start_error_reports
    from everpost.errors import ServiceError, SettingsError
    from everpost.logs import configure_logging
    from everpost.printable import printable
    from everpost.private_files import close_to_others
    from everpost.settings import read_settings
    from everpost.tracing import start_tracing
    from everpost_workers.engine import StuckJobsError
    from everpost_workers.main import create_worker
    from everpost_workers.process_end import leave_at_once


def main() -> int:
    """Run a worker; return 2 if a setting is wrong, 1 if the database cannot be used or an attempt does not end."""
    reports = None
    try:
        settings = read_settings(os.environ)
        reports = start_error_reports(os.environ, "worker", settings.redactor)
        configure_logging(settings, reports=reports)
        close_to_others(settings)
        asyncio.set_event_loop(uvloop.new_event_loop())
        worker = create_worker(settings, tracing=start_tracing(os.environ, "everpost-worker"))
        freeze_garbage()
        worker.run()
    except StuckJobsError as error:
        sys.stderr.write(f"everpost worker: {error}; it ends so that another can take its place\n")
        return 1
    except SettingsError as error:
        sys.stderr.write(f"everpost worker: {printable(error.message)}\n")
        return 2
    except ServiceError as error:
        sys.stderr.write(f"everpost worker: {printable(error.message)}\n")
        return 1
    finally:
        if reports is not None:
            reports.close()
    return 0


if __name__ == "__main__":
    leave_at_once(main())
