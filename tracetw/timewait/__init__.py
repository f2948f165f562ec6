# SPDX-License-Identifier: Apache-2.0
"""The sockets that closing leaves behind, who carries them, and when local ports run out.

For other rooms: ``snapshot.take()`` looks at the host, ``forecast.forecasts(snapshot)`` says when ports run
out, ``groups.groups(snapshot, by)`` counts by port, peer, pair or namespace, ``carriers`` joins a
recording.
"""
