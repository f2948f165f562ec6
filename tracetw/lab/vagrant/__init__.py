# SPDX-License-Identifier: Apache-2.0
"""The lab between real machines, which Vagrant makes."""
