/* SPDX-License-Identifier: Apache-2.0
 *
 * Naming the files of a folder, and of the folders in it.
 */
#ifndef AFPACTL_TREE_H
#define AFPACTL_TREE_H

#include "load.h"

/* Adds every regular file below an absolute path that is a folder; what is none is skipped.  Symbolic links are followed, as
 * servers do, and the names kept as they are; one that leads back to a folder it is in is skipped. */
void tree_add(load_t *load, const char *path);

#endif
