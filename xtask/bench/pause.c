/* Does nothing until it is killed: the payload of machines that only have to be there. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
