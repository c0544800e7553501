# SPDX-License-Identifier: Apache-2.0
# Man pages go into dist_man_MANS, the guides into dist_doc_DATA.
