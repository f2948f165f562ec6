# SPDX-License-Identifier: Apache-2.0
"""Recordings: facts as they left the kernel, in files that survive a crash. Never verdicts.

Reading needs Linux for nothing, BCC for nothing, and pyarrow only for segments that were compacted::

    from tracetw.recording.reader import open_recordings

    for recording in open_recordings(["/var/log/tracetw"]):     # folders, or single segments
        recording.header                    # tracetw.recording.header.Header
        for rows in recording.closes():     # NDArray[CLOSE], owners resolved, order of recording
            ...                             # tracetw.replay.source judges them
        for rows in recording.events():     # NDArray[EVENT]
        for sample in recording.samples():  # tracetw.recording.facts.Sample: counters, sysctls
        recording.losses()                  # list[Lost]
        recording.damage                    # list[Damage], complete after open_recordings()
        recording.cgroup_path(id)           # str | None, as it was resolved on the recorded host
        recording.user(uid)                 # str | None, likewise
        recording.clock                     # tracetw.host.clock.Clock for ``at`` and ``born`` of rows,
                                            # also where the clock was set meanwhile

One recording is one run of ``tracetw record`` on one host. It lies in segments below
``host=NAME/hour=YYYY-MM-DDTHH/`` (UTC), and segments that a trigger kept once more below ``kept/``;
a segment found twice is read once.

``STEM.tws``
    a segment: frames with a checksum each (:mod:`tracetw.recording.frame`). Every segment carries
    the whole header, so that any of them can be read alone.
``STEM.closes.parquet``, ``STEM.events.parquet``
    rows of a compacted segment, whose ``.tws`` keeps everything else and the checksums of these.
    Columns are the fields of ``CLOSE`` and ``EVENT`` under their C names, except that the layout
    is closer to small numbers (:mod:`tracetw.recording.columns`, which also has the way back).
"""
