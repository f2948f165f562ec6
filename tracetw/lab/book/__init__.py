# SPDX-License-Identifier: Apache-2.0
"""The lab book: twelve experiments for somebody who learns, and what each run of them must show."""
